import type { TransferKind } from './backend/backend';
import { LLMException } from './exception';
import { RELEASED } from './released';
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

const REMEDY =
  'Leave this cluster and its link alone, and go on with other clusters. When the call that hangs has returned, calls pass ' +
  'again: relink then, once for all calls of this cluster (unlink with force: true, and link with the life that the cluster ' +
  'reports now), and repeat the call with a new key. If it does not return, restart this process.';
const REMEDY_FOR_WAITING =
  'Leave the link of that call alone, and go on with other work. Repeat this call when that one has returned. If it does not ' +
  'return, restart this process.';
const REMEDY_FOR_PUSHES =
  'Go on with pulls, or send the data from another process. Repeat the call later: when the push that hangs has returned, ' +
  'pushes pass again. If it does not return, restart this process.';

/** What a call with an unresponsive peer is rejected with, or a push while one hangs. */
export function unresponsive(
  operation: string,
  clusterId: bigint,
  hung: HungTransfer,
  ageMs: number,
  released: Promise<void> = RELEASED,
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
    remedy: isItsOwn ? REMEDY : REMEDY_FOR_PUSHES,
    recovery: 'retry',
    deadline: 'package',
    released,
  });
}

/** What a call is rejected with that would have to wait for a transfer that was given up. */
export function stranded(operation: string, calls: string, { cause }: StrandedError): LLMException {
  const { clusterId } = cause instanceof LLMException ? cause : {};
  return new LLMException(LLMStatusCode.LLM_TIMEOUT, {
    operation,
    clusterId,
    message: `it has to wait for ${calls}, and one of these calls has not come back from the library`,
    remedy: REMEDY_FOR_WAITING,
    recovery: 'retry',
    deadline: 'package',
    released: RELEASED,
    cause,
  });
}
