/** What the build of the stand-in is made with. */
export interface StandInBuildOptions {
  /**
   * Sanitizers, as the compiler's `-fsanitize=` names them. Default: those in the environment variable
   * LLM_STANDIN_SANITIZE, separated by commas.
   */
  readonly sanitize?: readonly ('address' | 'leak' | 'thread' | 'undefined')[];
  /** The compiler with its arguments; `CXX` or `g++` without it. */
  readonly cxx?: string;
  /** Default: `build/standin`, with the target (unless it is this host's) and the sanitizers behind it. */
  readonly outDir?: string;
}

/** Where everything lies. `outDir` will do for `ASCEND_HOME_PATH`. */
export interface StandInBuild {
  readonly outDir: string;
  readonly libraryFolder: string;
  /** `libllm_datadist.so` */
  readonly library: string;
  /** `libascendcl.so`, with the control functions */
  readonly runtime: string;
  /** `standin.node`; see control.d.ts */
  readonly addon: string;
  /** A program that makes calls as its input asks for them; see driver.ts */
  readonly driver: string;
}

/**
 * Libraries that a loader must tell from the right one:
 * - `older`: `libllm_engine.so` without the methods that came later
 * - `no-initialize`: the library without one that it cannot do without
 * - `no-elf`: a text file by its name
 * - `other-machine`: one for another processor
 * - `acl-rt`: the runtime by its other name, `libacl_rt.so`
 * - `no-runtime`: no runtime beside the library
 * - `old-runtime`: a runtime without aclsysGetVersionStr, aclrtGetSocName and aclGetRecentErrMsg
 * - `no-memcpy`: a runtime without aclrtMemcpy
 */
export type StandInVariant =
  'older' | 'no-initialize' | 'no-elf' | 'other-machine' | 'acl-rt' | 'no-runtime' | 'old-runtime' | 'no-memcpy';

export interface StandInVariantBuild {
  /** Will do for `ASCEND_HOME_PATH`. */
  readonly home: string;
  readonly libraryFolder: string;
}

/** What went wrong, in the compiler's words where it was the compiler. */
export class StandInBuildError extends Error {}

/** There is no compiler to build with. */
export class NoCompilerError extends StandInBuildError {}

/**
 * Builds what changed since the last time, and waits while another process builds the same.
 * @throws StandInBuildError
 */
export function buildStandIn(options?: StandInBuildOptions): StandInBuild;

/** @throws StandInBuildError */
export function buildVariant(name: StandInVariant, options?: StandInBuildOptions): StandInVariantBuild;

export const VARIANT_NAMES: readonly StandInVariant[];
