const MIB = 2 ** 20;

/** Bytes in MiB, without decimals: the demo moves whole ones only, but for the middle of a bar. */
export function inMiB(bytes: number): string {
  return Math.floor(bytes / MIB).toString();
}

export function inMs(ms: number): string {
  return ms < 10 ? ms.toFixed(1) : ms.toFixed(0);
}

/** 10^9 bytes per second, as vendors of links count. */
export function inGBps(bytes: number, ms: number): string {
  return ms > 0 ? (bytes / ms / 1e6).toFixed(2) : '-';
}
