import { closeSync, openSync, readSync } from 'node:fs';

/** ELF machine numbers of the hosts that there are, under Node's names for them. */
const MACHINES: ReadonlyMap<number, string> = new Map([
  [0x03, 'ia32'],
  [0x28, 'arm'],
  [0x3e, 'x64'],
  [0xb7, 'arm64'],
  [0xf3, 'riscv64'],
]);

/**
 * What is wrong with the file as a binary for this process, where that can be told from its first bytes: the loader says
 * "No such file" of a library of another machine.
 */
export function wrongBinary(path: string): string | undefined {
  const header = Buffer.alloc(20);
  const file = openSync(path, 'r');
  try {
    if (readSync(file, header) < header.length || header.toString('latin1', 0, 4) !== '\x7fELF') {
      return 'the file is no ELF binary';
    }
  } finally {
    closeSync(file);
  }
  const machine = header.readUInt16LE(18);
  const arch = MACHINES.get(machine) ?? `machine ${machine}`;
  return arch === process.arch ? undefined : `the file is a binary for ${arch}, this process runs on ${process.arch}`;
}
