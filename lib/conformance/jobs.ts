/**
 * Works on items, some of them at the same time. Results are handed over in the order of the items, each as soon as those
 * before it are there. After a failure no further item is begun.
 *
 * @param jobs the number of jobs at the same time
 * @throws what the first failing `work` rejected with, when everything that was begun has ended
 */
export async function inJobs<T, R>(
  items: readonly T[],
  jobs: number,
  work: (item: T) => Promise<R>,
  take: (result: R) => void,
): Promise<void> {
  // One iterator for all workers: each takes the next item.
  const rest = items.entries();
  const ready = new Map<number, () => void>();
  const failures: unknown[] = [];
  let next = 0;
  const worker = async () => {
    for (const [i, item] of rest) {
      if (failures.length > 0) return;
      try {
        const result = await work(item);
        ready.set(i, () => {
          take(result);
        });
      } catch (error) {
        failures.push(error);
        return;
      }
      for (let handOver = ready.get(next); handOver !== undefined; handOver = ready.get(next)) {
        ready.delete(next);
        next += 1;
        handOver();
      }
    }
  };
  await Promise.all(Array.from({ length: jobs }, worker));
  if (failures.length > 0) throw failures[0];
}
