import type { Socket } from 'node:net';
import type { Line, LineEvents } from './line';

/** What a process that is known may say at once: the history of a long test comes in parts of less. */
export const LONGEST_LINE = 64 * 2 ** 20;

/** Bytes that the other side lets lie; then it is given up. */
const MAX_WAITING = 2 * LONGEST_LINE;

const NEWLINE = 0x0a;

/** Texts over a connection, one a line. It keeps no process alive unless it is asked to. */
export class SocketLine implements Line {
  events: LineEvents | undefined;
  /** In bytes; whoever sends more loses the connection. */
  longestLine: number;
  readonly #socket: Socket;
  #pieces: Buffer[] = [];
  #length = 0;
  #isOpen = true;
  #waiting = 0;

  constructor(socket: Socket, longestLine: number) {
    this.#socket = socket;
    this.longestLine = longestLine;
    socket.unref();
    socket.setNoDelay(true);
    socket.on('data', (chunk) => {
      this.#take(chunk);
    });
    // 'close' follows.
    socket.on('error', () => undefined);
    for (const end of ['end', 'close']) {
      socket.on(end, () => {
        this.close();
      });
    }
  }

  send(text: string): void {
    if (!this.#isOpen) return;
    if (this.#socket.writableLength > MAX_WAITING) this.close();
    else this.#socket.write(`${text}\n`);
  }

  keepAlive(difference: 1 | -1): void {
    this.#waiting += difference;
    if (this.#waiting > 0) this.#socket.ref();
    else this.#socket.unref();
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    // What was sent last is still to arrive.
    this.#socket.destroySoon();
    this.events?.closed();
  }

  #take(chunk: Buffer): void {
    let rest = chunk;
    while (this.#isOpen) {
      const end = rest.indexOf(NEWLINE);
      const piece = end < 0 ? rest : rest.subarray(0, end);
      this.#length += piece.length;
      if (this.#length > this.longestLine) {
        this.#socket.destroy();
        this.close();
        return;
      }
      if (piece.length > 0) this.#pieces.push(piece);
      if (end < 0) return;
      const line = Buffer.concat(this.#pieces).toString('utf8');
      this.#pieces = [];
      this.#length = 0;
      this.events?.arrived(line);
      rest = rest.subarray(end + 1);
    }
  }
}
