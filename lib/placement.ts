/**
 * Where memory lives.
 *
 * C++ `CachePlacement` (`kHost`, `kDevice`), Python `Placement`.
 */
export enum Placement {
  HOST = 0,
  DEVICE = 1,
}
