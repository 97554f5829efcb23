import { EventEmitter } from 'node:events';

/** Addresses with the versions of the package whose mocks listen there: one entry for each listener. */
type Entries = Map<string, string[]>;

const KEY = Symbol.for('llm-datadist.mockListeners/1');

/**
 * Where mocks in memory listen, whatever copy of the package they are of and whatever realm they run in. Only for
 * messages: instances of different versions do not know each other's objects.
 */
export interface ProcessListeners {
  add(address: string, version: string): void;
  delete(address: string, version: string): void;
  /** The version of a mock that listens there; `undefined` where none does. */
  find(ip: string, port: number): string | undefined;
}

export function listenersOfProcess(): ProcessListeners {
  const entries = entriesOfProcess();
  return {
    add(address, version) {
      entries.set(address, [...(entries.get(address) ?? []), version]);
    },
    delete(address, version) {
      const versions = [...(entries.get(address) ?? [])];
      const index = versions.indexOf(version);
      if (index >= 0) versions.splice(index, 1);
      if (versions.length > 0) entries.set(address, versions);
      else entries.delete(address);
    },
    find(ip, port) {
      const host = ip === '0.0.0.0' ? '127.0.0.1' : ip;
      const [version] = [host, '0.0.0.0', '::'].flatMap((each) => entries.get(`${each}:${port}`) ?? []);
      return version;
    },
  };
}

/** Built-in modules are the only objects that all realms of a process share: jest gives each test file its globals. */
function entriesOfProcess(): Entries {
  const { [KEY]: known } = EventEmitter as { [KEY]?: Entries };
  if (known !== undefined) return known;
  const entries: Entries = new Map();
  // Where that is not allowed the messages say less.
  Reflect.defineProperty(EventEmitter, KEY, { value: entries });
  return entries;
}
