import * as os from 'node:os';

/** Where the numbers come from; no name of a host or a user. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  readonly node: string;
  readonly v8: string;
  /** Mean number of processes that wanted a core in the last minute: above the number of cores, numbers are noise. */
  readonly load: number;
}

export function describeMachine(): Machine {
  const cpus = os.cpus();
  return {
    // Some kernels, and containers without /proc/cpuinfo, do not say.
    cpu: cpus[0]?.model.trim() ?? 'unknown',
    cores: os.availableParallelism(),
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    system: `${os.type()} ${os.release()} ${os.arch()}`,
    node: process.version,
    v8: process.versions.v8,
    load: Math.round((os.loadavg()[0] ?? 0) * 100) / 100,
  };
}
