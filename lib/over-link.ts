import type { CheckedKey } from './cache';
import { LLMException, withAdvice } from './exception';
import { refusal } from './guard/rule';
import type { Instance } from './instance';
import type { LimitedCall } from './limited-call';
import type { LinkLife } from './link-lives';
import { releasedOf } from './released';
import type { Registration } from './registrations';
import { LLMStatusCode } from './status';
import { LATE_CACHE } from './status-text';

const NOT_HERE = 'Use a cache that this instance registered, and has not unregistered since.';

/**
 * Makes a transfer over the link to the peer of its key, when nothing says that the key is of another life of the peer.
 * @param local `undefined` for an id that is not registered here
 * @param call where its options may end it early
 * @throws LLMException rule `stale-key`, before `start` is called
 */
export function overLink(
  instance: Instance,
  operation: string,
  key: CheckedKey,
  local: Registration | undefined,
  start: () => Promise<void>,
  call?: LimitedCall,
): Promise<void> {
  const { lives } = instance;
  const { clusterId, life } = key;
  if (life !== undefined && instance.guards) guardLife(instance, operation, key);
  const answer = start();
  return watched(answer, life === undefined ? lives.linkTo(clusterId) : lives.use(key, life), key, local, call);
}

function guardLife({ lives }: Instance, operation: string, key: CheckedKey): void {
  const { clusterId, cacheId, life } = key;
  const reason = lives.refusalOf(key);
  if (reason === undefined) return;
  throw refusal('stale-key', operation, `the key is of life ${life} of cluster ${clusterId}, but ${reason}`, {
    clusterId,
    cacheId,
    recovery: 'stale-key',
    advice:
      `ask cluster ${clusterId} which life it has now, and link with that. If it is another one than this key's, ask for a ` +
      'new key. Never take the life from the key.',
  });
}

async function watched(
  answer: Promise<void>,
  link: LinkLife | undefined,
  key: CheckedKey,
  local: Registration | undefined,
  call: LimitedCall | undefined,
): Promise<void> {
  try {
    await answer;
    link?.succeed(key);
  } catch (error) {
    if (call?.isWithdrawn === true) link?.withdraw(key);
    if (call?.isWithdrawn === true || !(error instanceof LLMException)) throw error;
    const isUnknown = error.statusCode === LLMStatusCode.LLM_KV_CACHE_NOT_EXIST;
    const reported = isUnknown ? unknownCache(error, link, key, local) : error;
    link?.fail(key, error);
    // It was given up, and may come back with a status that ends the link.
    releasedOf(error)?.catch((late: unknown) => {
      if (late instanceof LLMException) link?.endBy(late);
    });
    throw reported;
  }
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
