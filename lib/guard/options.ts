import type { BackendOptions } from '../backend/backend';
import { readJsonOption } from '../option-text/json-option';
import { parseListenAddress } from '../option-text/listen-address';
import type { ListenAddress } from '../option-text/listen-address';
import { parseMemPoolConfig } from '../option-text/mem-pool-config';
import { parseDigitsAsInt32 } from '../option-text/number-text';
import { brokenRule } from '../option-text/option-error';
import { checkHixlOptions } from '../option-text/hixl-options';
import { refusal } from './rule';
import type { Rule } from './rule';

/** Deeper nesting overflows the stack of a printer in one of the engines. */
const MAX_NESTING = 64;

/**
 * The option texts that the library notices too late, after it has started to listen, or cuts in silence. The others it
 * refuses itself, in its own order, and nothing is left behind.
 */
export function guardOptions(options: BackendOptions, operation: 'init' | 'switchRole'): void {
  const check = (key: string, rule: Rule, problem: (text: string) => string | undefined): void => {
    const text = options[key];
    if (text === undefined) return;
    const found = problem(text);
    if (found !== undefined) throw refusal(rule, operation, `${key}: ${found}`);
  };
  check('llm.ListenIpInfo', 'listen-port', listenPort);
  if (operation === 'switchRole') return;
  check('llm.SyncKvCacheWaitTime', 'wait-time', waitTime);
  for (const pool of ['llm.MemPoolConfig', 'llm.HostMemPoolConfig']) {
    check(pool, 'memory-pool', (text) => brokenRule(() => parseMemPoolConfig(pool, text)));
  }
  check('llm.LocalCommRes', 'resource-json', (text) => (text === '' ? undefined : jsonProblem(text)));
  if (options['llm.TransferBackend'] !== 'hixl') return;
  check('llm.GlobalResourceConfig', 'resource-json', (text) => (nesting(text) > MAX_NESTING ? TOO_DEEP : undefined));
  check('llm.TransferBackend', 'resource-json', () => engineProblem(options));
}

const TOO_DEEP = `nested more than ${MAX_NESTING} levels deep`;

/** A text that is no address at all is the library's to refuse. */
function listenAddress(text: string | undefined): ListenAddress | undefined {
  let address: ListenAddress | undefined;
  if (text !== undefined) brokenRule(() => (address = parseListenAddress(text)));
  return address;
}

function listenPort(text: string): string | undefined {
  const port = listenAddress(text)?.port;
  return port === undefined || (port >= 1 && port <= 0xffff) ? undefined : `port ${port}`;
}

function waitTime(text: string): string | undefined {
  const digits = /^0*([1-9]\d{0,9})$/.exec(text)?.[1];
  return digits !== undefined && parseDigitsAsInt32(digits) === Number(digits) ? undefined : `"${text.slice(0, 40)}"`;
}

function jsonProblem(text: string): string | undefined {
  if (nesting(text) > MAX_NESTING) return TOO_DEEP;
  return brokenRule(() => readJsonOption('the text', text));
}

/** What the chosen engine of hixl says of the two JSON texts; RDMA values are refused early, and by the library. */
function engineProblem(options: BackendOptions): string | undefined {
  const listen = listenAddress(options['llm.ListenIpInfo']);
  if (listen === undefined) return undefined;
  const json = Object.fromEntries(Object.entries(options).filter(([key]) => !key.startsWith('llm.Rdma')));
  return brokenRule(() => checkHixlOptions(json, listen, {}));
}

/** Depth of brackets outside strings: enough to refuse what would be too deep, without a recursive reader. */
function nesting(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[{]|[\]}]/gs)) {
    if (token === '[' || token === '{') deepest = Math.max(deepest, ++depth);
    else if (token === ']' || token === '}') depth -= 1;
  }
  return deepest;
}
