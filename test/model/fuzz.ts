import { search, describeCounterexample } from './search';
const counts = new Map<string, number>();
let steps = 0;
void search({ seed: Number(process.argv[2] ?? 1), runs: Number(process.argv[3] ?? 200), onCall: (call, status) => { steps++; const k = call.op + ' ' + status; counts.set(k, (counts.get(k) ?? 0) + 1); } }).then((r) => {
  if (r) console.log(describeCounterexample(r));
  console.log(steps); for (const [k, n] of [...counts].sort()) console.log(k, n);
});
