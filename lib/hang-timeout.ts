/** Longer than anything that ends takes; shorter than what supervises a process waits for it. */
export const DEFAULT_HANG_TIMEOUT_MS = 60_000;
export const MAX_HANG_TIMEOUT_MS = 2 ** 31 - 1;

/** How long the library may lock all links with hixl while it unlinks a peer that is dead, whatever the timeout of that call. */
const HIXL_DISCONNECT_MS = 30_000;

/** A call that waits for that lock goes on afterwards, and is not to be given up before. */
export function warnOfShortHangTimeout(clusterId: bigint, hangTimeoutMs: number): void {
  if (hangTimeoutMs >= HIXL_DISCONNECT_MS) return;
  process.emitWarning(
    `cluster ${clusterId} has a hangTimeout of ${hangTimeoutMs} ms and the transfer backend hixl. When it unlinks a peer that ` +
      `is dead, the library keeps all links locked for up to ${HIXL_DISCONNECT_MS} ms. Calls with other peers wait meanwhile, ` +
      'and would be given up although they do not hang. Pass a hangTimeout of at least ' +
      `${HIXL_DISCONNECT_MS} ms to the constructor, or leave it out: it is ${DEFAULT_HANG_TIMEOUT_MS} ms then.`,
    'LLMDataDistHangTimeoutWarning',
  );
}
