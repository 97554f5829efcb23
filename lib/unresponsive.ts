import type { TransferKind } from './backend/backend';
import { LLMException } from './exception';
import { LLMStatusCode } from './status';
import type { StrandedError } from './uses';

/** What is said of a peer whose transfer does not come back. */
export interface HungTransfer {
  readonly kind: TransferKind;
  /** The peer. */
  readonly clusterId: bigint;
  /** How long the call had been inside the library when it was given up. */
  readonly elapsedMs: number;
}

const LEAVE = 'Leave this cluster and its link alone, and go on with other clusters.';
const RELINK =
  'elink then, once for all calls of this cluster (unlink with force: true, and link with the life that the cluster reports now), ' +
  'and repeat the call with a new key.';
const REFUSED = 'This call was refused, and uses no memory.';
const WAIT = 'Wait until `released` of this exception has settled';
const NOT_SETTLED = 'If it does not settle, restart this process.';
const MEANWHILE = 'until then they are refused at once, and `released` of a refusal settles in that moment.';
const NOT_RETURNED = 'If it does not return, restart this process.';
const NO_PUSH = 'Go on with pulls, or send the data from another process.';

const REMEDIES = {
  ofPeer: {
    refused: `${REFUSED} ${LEAVE} ${WAIT}: r${RELINK} ${NOT_SETTLED}`,
    givenUp: `${LEAVE} When the call that hangs has returned, calls pass again; ${MEANWHILE} R${RELINK} ${NOT_RETURNED}`,
  },
  ofPushes: {
    refused: `${REFUSED} ${NO_PUSH} ${WAIT}, and repeat the call then. ${NOT_SETTLED}`,
    givenUp: `${NO_PUSH} When the push that hangs has returned, pushes pass again; ${MEANWHILE} Repeat the call then. ${NOT_RETURNED}`,
  },
};

/**
 * What a call with an unresponsive peer is refused with, or a push while one hangs.
 * @param over settles when the peer is responsive again
 */
export function refused(
  operation: string,
  clusterId: bigint,
  hung: HungTransfer,
  ageMs: number,
  over: Promise<void>,
): LLMException {
  return unresponsive(operation, clusterId, hung, ageMs, 'refused', over);
}

/**
 * What a transfer is rejected with that hangs, or has waited behind one that does.
 * @param released settles when nothing of it can go on
 */
export function givenUp(
  operation: string,
  clusterId: bigint,
  hung: HungTransfer,
  ageMs: number,
  released: Promise<void>,
): LLMException {
  return unresponsive(operation, clusterId, hung, ageMs, 'givenUp', released);
}

function unresponsive(
  operation: string,
  clusterId: bigint,
  hung: HungTransfer,
  ageMs: number,
  end: 'refused' | 'givenUp',
  released: Promise<void>,
): LLMException {
  const isItsOwn = clusterId === hung.clusterId;
  const what = `a ${hung.kind} ${hung.kind === 'pull' ? 'from' : 'to'} cluster ${hung.clusterId}`;
  const since = `has not returned from the library for ${Math.round(hung.elapsedMs + ageMs)} ms`;
  return new LLMException(LLMStatusCode.LLM_TIMEOUT, {
    operation,
    clusterId,
    message: isItsOwn
      ? `cluster ${clusterId} is unresponsive: ${what} ${since}${hung.kind === 'push' ? ', and no push of this instance can run' : ''}`
      : `no push of this instance can run: ${what} ${since}, and the library has one lock for all pushes`,
    remedy: REMEDIES[isItsOwn ? 'ofPeer' : 'ofPushes'][end],
    recovery: 'retry',
    deadline: 'package',
    released,
  });
}

/** What a call is rejected with that would have to wait for a transfer that was given up. */
export function stranded(operation: string, calls: string, { cause, over }: StrandedError): LLMException {
  const { clusterId } = cause instanceof LLMException ? cause : {};
  return new LLMException(LLMStatusCode.LLM_TIMEOUT, {
    operation,
    clusterId,
    message: `it has to wait for ${calls}, and one of these calls has not come back from the library`,
    remedy: `${REFUSED} Leave the link of that call alone, and go on with other work. ${WAIT}, and repeat the call then. ${NOT_SETTLED}`,
    recovery: 'retry',
    deadline: 'package',
    released: over,
    cause,
  });
}
