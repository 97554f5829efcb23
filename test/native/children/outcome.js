'use strict';

/** How a call ends for its caller: `settled`, or the exception as plain data. */
async function outcomeOf(promise) {
  try {
    await promise;
    return 'settled';
  } catch (error) {
    const { code, recovery, operation, message, remedy } = error;
    return { code, recovery, operation, message, remedy };
  }
}

module.exports = { outcomeOf };
