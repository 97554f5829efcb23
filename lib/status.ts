import { checkString, checkUint32, invalidArgType, outOfRange } from './check';
import { nearestName } from './nearest-name';
import { STATUS_TEXT, UNKNOWN_STATUS_TEXT, type Bilingual, type StatusText } from './status-text';

/**
 * The 18 public status codes.
 *
 * C++ `llm_datadist::LLM_*` (`Status`, an unsigned 32-bit number); Python `LLMStatusCode`, which spells
 * `LLM_WAIT_PROC_TIMEOUT` as `LLM_WAIT_PROCESS_TIMEOUT`. A call may return other numbers as well: use {@link statusName}
 * or {@link describeStatus} to get from a number to a name.
 */
export const LLMStatusCode = Object.freeze({
  LLM_SUCCESS: 0,
  /** General failure, also the answer of an instance that is not initialised. */
  LLM_FAILED: 0xffff_ffff,
  LLM_WAIT_PROC_TIMEOUT: 0x5010_b001,
  /** The cache id is unknown, here or at the peer. */
  LLM_KV_CACHE_NOT_EXIST: 0x5010_b002,
  LLM_PARAM_INVALID: 0x5010_b005,
  LLM_NOT_YET_LINK: 0x5010_b007,
  LLM_ALREADY_LINK: 0x5010_b008,
  LLM_LINK_FAILED: 0x5010_b009,
  LLM_UNLINK_FAILED: 0x5010_b00a,
  /** Unlinked here, but the Prompt side does not know. The library of today does not return it. */
  LLM_NOTIFY_PROMPT_UNLINK_FAILED: 0x5010_b00b,
  /** More than 16 clusters in one call. The library of today does not return it. */
  LLM_CLUSTER_NUM_EXCEED_LIMIT: 0x5010_b00c,
  /** Another link or unlink is running. The library of today does not return it. */
  LLM_PROCESSING_LINK: 0x5010_b00d,
  LLM_DEVICE_OUT_OF_MEMORY: 0x5010_b00e,
  /** The role cannot change while links exist. */
  LLM_EXIST_LINK: 0x5010_b018,
  LLM_FEATURE_NOT_ENABLED: 0x5010_b019,
  LLM_TIMEOUT: 0x5010_b01a,
  LLM_LINK_BUSY: 0x5010_b01b,
  LLM_OUT_OF_MEMORY: 0x5010_b01c,
} as const);
export type LLMStatusCode = (typeof LLMStatusCode)[keyof typeof LLMStatusCode];

/** Language of a text: English or Chinese. */
export type Locale = 'en' | 'zh-CN';

/**
 * Who named a status: the public header, the engine for its own use (HIXL included), or the Ascend runtime, whose
 * numbers the library passes on.
 */
export type StatusOrigin = 'public' | 'internal' | 'runtime' | 'unknown';

/** What is known about a status. */
export interface StatusDescription {
  /** Such as `LLM_TIMEOUT`; `LLM_UNKNOWN_STATUS` for a number that nobody has named. */
  readonly name: string;
  /** The number itself, also when it has no name. */
  readonly code: number;
  /** The number as `0x` and eight upper-case digits. */
  readonly hex: string;
  readonly meaning: string;
  /** As the vendor documents it; `undefined` where the vendor is silent. */
  readonly recoverable: boolean | undefined;
  /** What to do, whatever the operation was; {@link remedyOf} knows better. */
  readonly remedy: string;
  readonly origin: StatusOrigin;
}

/**
 * What a program can do about a failure, after which it may repeat the call:
 * `none` nothing, the wanted state is there; `retry` repeat, later or with more time; `relink` unlink (by force if the
 * peer may be dead) and link again, once for all calls of that peer, with the life that it reports now and a new key;
 * `unlink-first` use the link where another call of this process has just made it with the life that the peer reports now, else
 * unlink, by force if need be, once for all calls of that peer; `stale-key` ask the peer for its life: where it is not that of the
 * link, relink once for all calls with it, else ask for a new key; `fix-input` pass something else; `fix-environment` change the
 * host, the device or its memory; `fatal` give this instance up.
 */
export type Recovery = (typeof recoveries)[number];

/** Every {@link Recovery}. */
export const recoveries = Object.freeze([
  'none',
  'retry',
  'relink',
  'unlink-first',
  'stale-key',
  'fix-input',
  'fix-environment',
  'fatal',
] as const);

/** Operations that fail alike. */
export type OperationKind =
  'init' | 'finalize' | 'switchRole' | 'link' | 'unlink' | 'allocate' | 'register' | 'release' | 'transfer' | 'copy';

const KIND_OF_OPERATION = {
  init: 'init',
  finalize: 'finalize',
  switchRole: 'switchRole',
  linkClusters: 'link',
  unlinkClusters: 'unlink',
  allocateMemory: 'allocate',
  allocateCache: 'allocate',
  registerCache: 'register',
  unregisterCache: 'release',
  deallocateCache: 'release',
  free: 'release',
  pullCache: 'transfer',
  pullBlocks: 'transfer',
  pushCache: 'transfer',
  pushBlocks: 'transfer',
  transferCacheAsync: 'transfer',
  copyCache: 'copy',
  copyBlocks: 'copy',
  swapBlocks: 'copy',
  read: 'copy',
  write: 'copy',
  readBlocks: 'copy',
  writeBlocks: 'copy',
} as const satisfies Readonly<Record<string, OperationKind>>;

/** The methods of this package that can fail with a status. */
export type Operation = keyof typeof KIND_OF_OPERATION;

type PublicName = keyof typeof LLMStatusCode;
type StatusName = keyof typeof STATUS_TEXT;

interface StatusRule {
  readonly code: number;
  readonly origin: StatusOrigin;
  readonly recoverable?: boolean;
  readonly recovery: Recovery;
  /** Where the operation makes a difference. */
  readonly on?: Readonly<Partial<Record<OperationKind, Recovery>>>;
  /** Only where Python spells the name differently. */
  readonly pythonName?: string;
}

// A transfer that timed out leaves its link dead. The other calls have a time limit that can be raised, except the last
// three: only a deadline of this package ends them, and the vendor's call may still be running.
const TIMEOUT_ON: StatusRule['on'] = { transfer: 'relink', init: 'fatal', finalize: 'fatal', switchRole: 'fatal' };

const PUBLIC: Readonly<Record<PublicName, Omit<StatusRule, 'code' | 'origin'>>> = {
  LLM_SUCCESS: { recovery: 'none' },
  LLM_FAILED: {
    recoverable: false,
    recovery: 'fatal',
    // The one code for whatever the transport or the system refuses, hence the differences.
    on: {
      init: 'fix-environment',
      switchRole: 'fix-environment',
      link: 'retry',
      unlink: 'unlink-first',
      allocate: 'fix-environment',
      register: 'fix-input',
      release: 'unlink-first',
      transfer: 'relink',
    },
  },
  LLM_WAIT_PROC_TIMEOUT: {
    recoverable: true,
    recovery: 'retry',
    on: TIMEOUT_ON,
    pythonName: 'LLM_WAIT_PROCESS_TIMEOUT',
  },
  LLM_KV_CACHE_NOT_EXIST: {
    recoverable: true,
    recovery: 'fix-input',
    // Not 'relink', which would end the other transfers with this peer: only a key that says so was registered after the link.
    on: { transfer: 'stale-key' },
  },
  LLM_PARAM_INVALID: { recoverable: true, recovery: 'fix-input' },
  LLM_NOT_YET_LINK: { recoverable: true, recovery: 'relink', on: { link: 'retry', unlink: 'none' } },
  LLM_ALREADY_LINK: {
    recoverable: true,
    // On a link call too: the link may lead to a process that has ended, and 'none' would leave it so.
    recovery: 'unlink-first',
    on: { transfer: 'relink' },
  },
  LLM_LINK_FAILED: { recoverable: true, recovery: 'retry', on: { unlink: 'unlink-first', transfer: 'relink' } },
  LLM_UNLINK_FAILED: {
    recoverable: true,
    // Not 'retry', on an unlink either: while the peer is dead only a forced unlink gets rid of the link.
    recovery: 'unlink-first',
    on: { transfer: 'relink' },
  },
  LLM_NOTIFY_PROMPT_UNLINK_FAILED: { recoverable: true, recovery: 'unlink-first' },
  LLM_CLUSTER_NUM_EXCEED_LIMIT: { recoverable: true, recovery: 'fix-input' },
  LLM_PROCESSING_LINK: { recoverable: true, recovery: 'retry' },
  LLM_DEVICE_OUT_OF_MEMORY: { recoverable: true, recovery: 'fix-environment' },
  LLM_EXIST_LINK: { recoverable: true, recovery: 'unlink-first' },
  LLM_FEATURE_NOT_ENABLED: {
    recoverable: true,
    recovery: 'fix-input',
    on: { link: 'fix-environment', transfer: 'fix-environment' },
  },
  LLM_TIMEOUT: {
    // As the table of C++ codes has it; Python says true. What can be done is said by `recovery`.
    recoverable: false,
    recovery: 'retry',
    on: TIMEOUT_ON,
  },
  LLM_LINK_BUSY: {
    // C++ calls it reserved, Python says when it comes: whoever does meet it is served by Python's advice.
    recoverable: true,
    recovery: 'retry',
  },
  LLM_OUT_OF_MEMORY: { recoverable: true, recovery: 'fix-environment' },
};

const NOT_PUBLIC: Readonly<Record<Exclude<StatusName, PublicName>, StatusRule>> = {
  LLM_REPEAT_REQUEST: { code: 0x5010_b003, origin: 'internal', recoverable: true, recovery: 'fix-input' },
  LLM_REQUEST_ALREADY_COMPLETED: { code: 0x5010_b004, origin: 'internal', recovery: 'fix-input' },
  LLM_ENGINE_FINALIZED: { code: 0x5010_b006, origin: 'internal', recovery: 'fix-input' },
  LLM_PREFIX_ALREADY_EXIST: { code: 0x5010_b00f, origin: 'internal', recoverable: true, recovery: 'fix-input' },
  LLM_PREFIX_NOT_EXIST: { code: 0x5010_b010, origin: 'internal', recoverable: true, recovery: 'fix-input' },
  LLM_SEQ_LEN_OVER_LIMIT: {
    code: 0x5010_b011,
    origin: 'internal',
    recovery: 'fix-input',
    pythonName: 'LLM_SEQ_LENOVERLIMIT',
  },
  LLM_NO_FREE_BLOCK: { code: 0x5010_b012, origin: 'internal', recovery: 'retry' },
  LLM_BLOCKS_OUT_OF_MEMORY: { code: 0x5010_b013, origin: 'internal', recovery: 'fix-environment' },
  LLM_CACHE_INCOMPATIBLE: { code: 0x5010_b014, origin: 'internal', recovery: 'fix-input' },
  LLM_CACHE_KEY_ALREADY_EXIST: { code: 0x5010_b015, origin: 'internal', recovery: 'fix-input' },
  LLM_COPY_CACHE_FAILED: { code: 0x5010_b016, origin: 'internal', recovery: 'fatal', on: { transfer: 'relink' } },
  LLM_CACHE_ID_ALREADY_EXIST: { code: 0x5010_b017, origin: 'internal', recovery: 'fix-input' },

  LLM_DEVICE_MEM_ERROR: {
    code: 507053,
    origin: 'runtime',
    // Documented as recoverable by remapping the memory, which the same page calls not yet supported.
    recoverable: true,
    recovery: 'fatal',
  },
  LLM_SUSPECT_REMOTE_ERROR: {
    code: 507057,
    origin: 'runtime',
    // A suspicion only: the vendor leaves the verdict to the caller, and a new link is what can be tried.
    recoverable: false,
    recovery: 'relink',
    on: { unlink: 'unlink-first' },
  },

  // HIXL's own numbers stand in logs; calls return the LLM_* code that they become.
  HIXL_PARAM_INVALID: { code: 103900, origin: 'internal', recoverable: true, recovery: 'fix-input' },
  HIXL_TIMEOUT: { code: 103901, origin: 'internal', recoverable: false, recovery: 'relink' },
  HIXL_NOT_CONNECTED: { code: 103902, origin: 'internal', recoverable: true, recovery: 'relink' },
  HIXL_ALREADY_CONNECTED: { code: 103903, origin: 'internal', recoverable: true, recovery: 'unlink-first' },
  HIXL_NOTIFY_FAILED: { code: 103904, origin: 'internal', recoverable: false, recovery: 'relink' },
  HIXL_UNSUPPORTED: { code: 103905, origin: 'internal', recoverable: true, recovery: 'fix-input' },
  HIXL_RESOURCE_EXHAUSTED: { code: 203900, origin: 'internal', recoverable: true, recovery: 'retry' },
  HIXL_FAILED: { code: 503900, origin: 'internal', recoverable: false, recovery: 'fatal' },
};

interface StatusEntry {
  readonly name: string;
  readonly rule: Omit<StatusRule, 'code'>;
  readonly text: StatusText;
}

const UNKNOWN: StatusEntry = {
  name: 'LLM_UNKNOWN_STATUS',
  rule: {
    origin: 'unknown',
    recovery: 'fatal',
    on: {
      init: 'fix-environment',
      link: 'retry',
      unlink: 'unlink-first',
      allocate: 'fix-environment',
      transfer: 'relink',
    },
  },
  text: UNKNOWN_STATUS_TEXT,
};

const TABLE: readonly (readonly [StatusName, StatusRule])[] = [
  ...(Object.keys(LLMStatusCode) as PublicName[]).map(
    (name) => [name, { code: LLMStatusCode[name], origin: 'public', ...PUBLIC[name] }] as const,
  ),
  ...(Object.entries(NOT_PUBLIC) as [StatusName, StatusRule][]),
];

const ENTRY_OF_CODE: ReadonlyMap<number, StatusEntry> = new Map(
  TABLE.map(([name, rule]) => [rule.code, { name, rule, text: STATUS_TEXT[name] }]),
);

const CODE_OF_NAME: ReadonlyMap<string, number> = new Map(
  TABLE.flatMap(([name, { code, pythonName = name }]) => [
    [name, code],
    [pythonName, code],
  ]),
);

const KIND_OF: ReadonlyMap<string, OperationKind> = new Map(Object.entries(KIND_OF_OPERATION));

/** Every number that has a name, public ones first. */
export const knownStatusCodes: readonly number[] = Object.freeze([...ENTRY_OF_CODE.keys()]);

/** Every {@link Operation}. */
export const operations: readonly Operation[] = Object.freeze(Object.keys(KIND_OF_OPERATION) as Operation[]);

/** The name of a status, or `LLM_UNKNOWN_STATUS`. Python `code_2_status`, which turns unknown numbers into `LLM_FAILED`. */
export function statusName(code: number): string {
  return (ENTRY_OF_CODE.get(code) ?? UNKNOWN).name;
}

/** A status as logs write it: `0x` and eight upper-case digits. */
export function statusHex(code: number): string {
  return `0x${code.toString(16).toUpperCase().padStart(8, '0')}`;
}

/**
 * The number of a status, or `undefined`.
 *
 * @param name the C++ or the Python spelling, or the number itself as `0x` and up to eight hexadecimal digits
 * @throws TypeError (`ERR_INVALID_ARG_TYPE`) when it is not a string
 */
export function statusOfName(name: string): number | undefined {
  checkString(name, 'name');
  return /^0x[0-9a-f]{1,8}$/i.test(name) ? Number(name) : CODE_OF_NAME.get(name);
}

/** The number of a status by its name, in C++ or in Python; the error for another one names the nearest. */
export function checkStatusName(text: string, name: string): number {
  const code = CODE_OF_NAME.get(text);
  if (!/^[a-z]\w*$/i.test(text)) throw invalidArgType(name, 'the number of a status or its name', text);
  if (code === undefined) throw outOfRange(name, `the name of a status, the nearest is ${nearestStatus(text)}`, text);
  return code;
}

/** Without the prefix that nearly all have: a name without it means one of these. */
function nearestStatus(text: string): string {
  const names = [...CODE_OF_NAME.keys()];
  const nearest = nearestName(
    text,
    names.flatMap((name) => [name, name.replace(/^LLM_/, '')]),
  );
  return names.find((name) => name === nearest || name === `LLM_${nearest}`) ?? nearest;
}

/**
 * What is known about a status.
 *
 * @param code any unsigned 32-bit number, or the C++ or the Python spelling of its name
 * @param locale language of `meaning` and `remedy`
 * @throws TypeError (`ERR_INVALID_ARG_TYPE`) when `code` is neither an integer nor a string, or `locale` is unknown
 * @throws RangeError (`ERR_OUT_OF_RANGE`) when `code` does not fit 32 bits, or is a name that no status has
 */
export function describeStatus(code: number | string, locale: Locale = 'en'): StatusDescription {
  const status = typeof code === 'string' ? checkStatusName(code, 'code') : checkUint32(code, 'code');
  const { name, rule, text } = ENTRY_OF_CODE.get(status) ?? UNKNOWN;
  return {
    name,
    code: status,
    hex: statusHex(status),
    meaning: inLocale(text.meaning, locale),
    recoverable: rule.recoverable,
    remedy: inLocale(text.remedy, locale),
    origin: rule.origin,
  };
}

/** What a program can do about a status that an operation ended with. Operations without a rule get the general one. */
export function recoveryOf(code: number, operation: string): Recovery {
  const { recovery, on } = (ENTRY_OF_CODE.get(code) ?? UNKNOWN).rule;
  const kind = KIND_OF.get(operation);
  return (kind && on?.[kind]) ?? recovery;
}

/**
 * What a person can do about a status that an operation ended with: one or two sentences.
 *
 * @throws TypeError (`ERR_INVALID_ARG_TYPE`) when `locale` is unknown
 */
export function remedyOf(code: number, operation: string, locale: Locale = 'en'): string {
  const { remedy, on } = (ENTRY_OF_CODE.get(code) ?? UNKNOWN).text;
  const kind = KIND_OF.get(operation);
  return inLocale((kind && on?.[kind]) ?? remedy, locale);
}

function inLocale(text: Bilingual, locale: unknown): string {
  if (locale === 'en') return text[0];
  if (locale === 'zh-CN') return text[1];
  throw invalidArgType('locale', "'en' or 'zh-CN'", locale);
}
