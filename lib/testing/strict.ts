import { Refusal } from '../backend/mock/refusal';
import { LLMStatusCode } from '../status';

/**
 * What the vendor's documentation asks and the library does not check, so that breaking it shows much later or on
 * hardware only. In strict mode such a call is refused with `LLM_PARAM_INVALID`, and the remedy names the rule.
 */
export const STRICT_RULES = {
  'register-before-link':
    'all caches are registered before the first link, because a link knows only memory that was registered before it, ' +
    'and peers copy the table of caches once per link',
  'address-count': 'the caches of an instance have at most 240 addresses in total',
  'finalize-alone': 'an instance is not finalized while a peer transfers from it or to it',
  'unique-cluster-id':
    'nodes that link to one peer have different cluster ids, because the peer keeps its link, and sends what it pushes, ' +
    'by the id alone',
  'key-with-layout':
    'keys carry the layout of the cache that they name (KvCache.key()), because the library reads or writes past the ' +
    'memory of the peer where a row or a block is out of range',
  'switch-unlinked': 'the role is switched when all links are gone, on both sides',
} as const;

export type StrictRule = keyof typeof STRICT_RULES;

/** All caches of an instance together. */
export const MAX_ADDRESSES = 240;

/** @param done what has been done all the same, in a sentence */
export function breaks(rule: StrictRule, problem: string, done?: string): Refusal {
  const text = `Rule ${rule}: ${STRICT_RULES[rule]}. createFabric({ strict: false }) does as the library does.`;
  return new Refusal(LLMStatusCode.LLM_PARAM_INVALID, problem, {
    remedy: done === undefined ? text : `${done} ${text}`,
    recovery: 'fix-input',
  });
}
