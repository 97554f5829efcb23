/**
 * Where memory lives.
 *
 * C++ `CachePlacement` (`kHost`, `kDevice`), Python `Placement`.
 */
export enum Placement {
  HOST = 0,
  DEVICE = 1,
}

/** The library takes anything but device memory for host memory. */
export function isHost(placement: number): boolean {
  return placement !== (Placement.DEVICE as number);
}
