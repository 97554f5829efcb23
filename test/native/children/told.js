'use strict';

/** What a caller is told: `settled`, or the exception as plain data. */
async function told(promise) {
  try {
    await promise;
    return 'settled';
  } catch (error) {
    const { code, recovery, operation, message, remedy } = error;
    return { code, recovery, operation, message, remedy };
  }
}

module.exports = { told };
