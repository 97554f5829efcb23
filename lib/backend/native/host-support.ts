/** A version of which nothing is known. */
const UNKNOWN = 'unknown';

/** What the native backend needs of a host. */
export interface HostFacts {
  readonly platform: string;
  readonly arch: string;
  /** Version of glibc that this Node runs on; `undefined` where it runs on another C library; `unknown`. */
  readonly glibc: string | undefined;
  /** Without `v`. */
  readonly node: string;
}

const ARCHITECTURES: readonly string[] = ['x64', 'arm64'];
const OLDEST_NODE = 20;
/** What the prebuilt binaries need. */
const OLDEST_GLIBC = [2, 28] as const;

const NEEDS = `it needs Linux on ${ARCHITECTURES.join(' or ')}, glibc ${OLDEST_GLIBC.join('.')} or later, and Node ${OLDEST_NODE} or later`;

const PLATFORMS: ReadonlyMap<string, string> = new Map([
  ['darwin', 'macOS'],
  ['win32', 'Windows'],
  ['linux', 'Linux'],
]);

/** Why no addon can be expected to load on this host; `undefined` where there should be one. */
export function unsupportedHost(host: HostFacts = thisHost()): string | undefined {
  const reason = unsupported(host);
  return reason === undefined ? undefined : `${reason}; ${NEEDS}`;
}

function unsupported({ platform, arch, glibc, node }: HostFacts): string | undefined {
  const name = PLATFORMS.get(platform) ?? platform;
  if (platform !== 'linux') return `${name} is not supported`;
  if (!ARCHITECTURES.includes(arch)) return `${name} on ${arch} is not supported`;
  if (glibc === undefined)
    return 'this Node runs on another C library than glibc (musl, as on Alpine), which is not supported';
  if (isOlder(glibc, OLDEST_GLIBC)) return `glibc ${glibc} is too old`;
  return isOlder(node, [OLDEST_NODE, 0]) ? `Node ${node} is too old` : undefined;
}

/** Whether a version is known to be older; of a text that is no version nothing is known. */
function isOlder(version: string, [major, minor]: readonly [major: number, minor: number]): boolean {
  const [own = NaN, next = 0] = version.split('.').map(Number);
  return own < major || (own === major && next < minor);
}

function thisHost(): HostFacts {
  const { platform, arch, versions } = process;
  return { platform, arch, glibc: platform === 'linux' ? glibcVersion() : undefined, node: versions.node };
}

/** Node's report says which glibc it runs on, and of another C library nothing. */
function glibcVersion(): string | undefined {
  // Other runtimes have no such report.
  const report = process.report as (NodeJS.ProcessReport & { excludeNetwork?: boolean }) | undefined;
  if (report === undefined) return UNKNOWN;
  const { excludeNetwork } = report;
  try {
    // Names of hosts would be looked up.
    if (excludeNetwork !== undefined) report.excludeNetwork = true;
    const { header } = report.getReport() as { header?: { glibcVersionRuntime?: string } };
    return header === undefined ? UNKNOWN : header.glibcVersionRuntime;
  } catch {
    // A runtime that has only the name of it: nothing is known then.
    return UNKNOWN;
  } finally {
    if (excludeNetwork !== undefined) report.excludeNetwork = excludeNetwork;
  }
}
