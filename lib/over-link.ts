import type { CheckedKey } from './cache';
import { LLMException, withAdvice } from './exception';
import { refusal } from './guard/rule';
import type { Instance, TransferOperation } from './instance';
import type { LimitedCall } from './limited-call';
import type { LinkLife, PeerLives } from './link-lives';
import { releasedOf } from './released';
import type { Registration } from './registrations';
import { LLMStatusCode } from './status';
import { LATE_CACHE } from './status-text';

const NOT_HERE = 'Use a cache that this instance registered, and has not unregistered since.';

/**
 * A transfer over the link to the peer of its key. It notes itself what comes of it: a promise between would cost each pull a
 * twentieth of its time.
 */
export class OverLink {
  readonly operation: TransferOperation;
  readonly key: CheckedKey;
  readonly #instance: Instance;
  #link: LinkLife | undefined;
  #local: Registration | undefined;
  #call: LimitedCall | undefined;
  /** Whether its answer is to come. */
  #isRunning = false;

  constructor(instance: Instance, operation: TransferOperation, key: CheckedKey) {
    this.#instance = instance;
    this.operation = operation;
    this.key = key;
  }

  /**
   * Makes it, when nothing says that the key is of another life of the peer.
   * @param local `undefined` for an id that is not registered here
   * @param call where its options may end it early
   * @throws LLMException rule `stale-key`, before `make` is called
   */
  start(local: Registration | undefined, call: LimitedCall | undefined, make: () => Promise<void>): Promise<void> {
    const { lives, guards } = this.#instance;
    const { clusterId, life } = this.key;
    const peer = life === undefined ? undefined : lives.of(clusterId);
    if (peer !== undefined && guards) guardLife(peer, this.operation, this.key);
    const answer = make();
    this.#link = peer === undefined || life === undefined ? lives.linkTo(clusterId) : peer.use(life);
    this.#local = local;
    this.#call = call;
    this.#isRunning = true;
    return answer;
  }

  /** It has succeeded. */
  succeed(): void {
    if (!this.#isRunning) return;
    this.#isRunning = false;
    this.#link?.succeed(this.key);
  }

  /**
   * It has failed.
   * @param error of the backend, or what its caller gets while the backend goes on: then its answer is still to come
   * @returns what it is rejected with
   */
  fail(error: unknown): unknown {
    if (!this.#isRunning) return error;
    const { key } = this;
    const link = this.#link;
    if (this.#call?.isWithdrawn === true) {
      this.#isRunning = false;
      link?.withdraw(key);
      return error;
    }
    if (!(error instanceof LLMException)) return error;
    this.#isRunning = false;
    const isUnknown = error.statusCode === LLMStatusCode.LLM_KV_CACHE_NOT_EXIST;
    const reported = isUnknown ? unknownCache(error, link, key, this.#local) : error;
    link?.fail(key, error);
    // It was given up, and may come back with a status that ends the link.
    releasedOf(error)?.catch((late: unknown) => {
      if (late instanceof LLMException) link?.endBy(late);
    });
    return reported;
  }
}

function guardLife(peer: PeerLives, operation: string, key: CheckedKey): void {
  const { clusterId, cacheId, life } = key;
  const reason = peer.refusalOf(key);
  if (reason === undefined) return;
  throw refusal('stale-key', operation, `the key is of life ${life} of cluster ${clusterId}, but ${reason}`, {
    clusterId,
    cacheId,
    recovery: 'stale-key',
    advice:
      `ask cluster ${clusterId} which life it has now, and link with that. If it is another one than this key's, ask for a ` +
      'new key. Never take the life from the key. Where that link exists already, because another call of this process has made ' +
      'it with the life that the cluster reports now, use it. Where the link is for another life, or was made without one, replace it ' +
      'once for all calls of the cluster: let its running transfers end, unlink with force: true, then link with that.',
  });
}

/** The library gives one number for three reasons. */
function unknownCache(
  error: LLMException,
  link: LinkLife | undefined,
  key: CheckedKey,
  local: Registration | undefined,
): LLMException {
  if (local === undefined) return withAdvice(error, NOT_HERE, 'fix-input');
  return link?.wasMadeBefore(key) === true ? withAdvice(error, LATE_CACHE[0], 'relink') : error;
}
