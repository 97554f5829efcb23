/** An address as it appears in messages. */
export function hexAddress(address: bigint): string {
  return `0x${address.toString(16)}`;
}
