/** Something that a measurement needs is not on this host; the message says what, and how to get it. */
export class Unavailable extends Error {
  override readonly name = 'Unavailable';
}
