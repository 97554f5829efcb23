'use strict';

/**
 * Makes a run, and once more where a signal has ended it without a report of the sanitizer.
 *
 * For the leak run. The process of jest ended once by SIGSEGV there, in continuous integration: after device-memory and probe,
 * which means in statuses.test.ts, the next by the durations of the run before. There was no report, no stack, and none of
 * many later runs did it again, with the sanitizers of addresses and of threads neither. LeakSanitizer stays beside the
 * threads of Node and of the addon that begin and end all the time in these tests, and is not itself free of races.
 * The stand-in's waits used freed memory then, when a worker ended at that moment; that is mended, and may have been it.
 * So one such end is reported loudly and repeated: a crash of the addon would be there again. Now there is a stack, too: see
 * test/native/sanitizers/crash_stack.cc. What has a report, or fails in another way, is a failure at once.
 *
 * @param options.run makes one run: what spawnSync gives
 * @param options.takeReports the reports that the sanitizer has written since the last time
 * @param options.say prints a line
 * @returns the last run, and the reports of all
 */
function repeatedRun({ run, takeReports, say }) {
  const first = run();
  const found = takeReports();
  if (first.signal !== 'SIGSEGV' || found.length > 0) return { ended: first, found };
  say(
    '!!! the runner ended by SIGSEGV, and the sanitizer reported nothing. This is repeated once, and fails if it happens ' +
      'again. Look at the stack above: it is the only sign of what it was.',
  );
  return { ended: run(), found: takeReports() };
}

module.exports = { repeatedRun };
