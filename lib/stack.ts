/** Frames of this package that may stand between the place of an error and the line that made the call. */
const OWN_FRAMES = 16;

/**
 * Gives an error the stack of this moment, without the frames down to `above`. V8 counts the frames of this package as it
 * counts the caller's, so that with its limit of ten the caller's line would be cut off: the limit is for those of the
 * caller.
 */
export function captureStack(error: object, above: CallableFunction | NewableFunction): void {
  const { stackTraceLimit } = Error;
  // What has frozen the intrinsics, or has taken the limit away, keeps what it has.
  const isDeeper = stackTraceLimit > 0 && setLimit(stackTraceLimit + OWN_FRAMES);
  try {
    Error.captureStackTrace(error, above);
  } finally {
    if (isDeeper) setLimit(stackTraceLimit);
  }
}

/** Where a call was made, in case that it fails. */
export type CallSite = Error;

/**
 * Takes the stack of a call that has just been made, without putting it into words. That takes some microseconds: too long
 * for a transfer.
 */
export function callSite(): CallSite {
  const site = Object.create(Error.prototype) as CallSite;
  captureStack(site, callSite);
  return site;
}

/** Gives an error the stack of the call that it is the failure of. */
export function moveStack(error: Error, site: CallSite): void {
  // The words are made now, with the head that the site has.
  Object.defineProperties(site, { name: { value: error.name }, message: { value: error.message } });
  const { stack } = site;
  if (stack !== undefined) Object.defineProperty(error, 'stack', { value: stack, configurable: true, writable: true });
}

function setLimit(limit: number): boolean {
  return Reflect.set(Error, 'stackTraceLimit', limit);
}
