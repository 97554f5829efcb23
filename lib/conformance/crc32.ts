/** Reflected polynomial of zlib. */
const POLYNOMIAL = 0xedb8_8320;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
  return crc;
});

/**
 * CRC-32 of zlib, continued from `previous`, so that bytes can be given piece by piece. Node's own `zlib.crc32` came with
 * 20.15 and 22.2.
 *
 * @param previous the checksum of what came before; 0 for nothing
 * @returns an unsigned 32-bit number
 */
export function crc32(bytes: Uint8Array, previous = 0): number {
  let crc = ~previous;
  for (const byte of bytes) crc = (crc >>> 8) ^ (TABLE[(crc ^ byte) & 0xff] ?? 0);
  return ~crc >>> 0;
}

/** A checksum as recordings write it: 8 lower-case hexadecimal digits. */
export function crcText(crc: number): string {
  return crc.toString(16).padStart(8, '0');
}
