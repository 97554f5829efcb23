import type { ListenAddress } from '../../option-text/listen-address';
import { VERSION } from '../../version';
import { Fabric } from './fabric';
import { listenersOfProcess } from './process-listeners';
import type { Binding, Connection } from './network';
import type { Session } from './session';

/** Where instances meet that were not given a fabric. A listener of another such network is at least named. */
class ProcessFabric extends Fabric {
  readonly #everywhere = listenersOfProcess();

  override bind(listen: ListenAddress, session: Session): Binding {
    const binding = super.bind(listen, session);
    this.#everywhere.add(binding.address, VERSION);
    return binding;
  }

  override release(binding: Binding): void {
    super.release(binding);
    this.#everywhere.delete(binding.address, VERSION);
  }

  override connect(ip: string, port: number, from?: Session): Connection {
    const connection = super.connect(ip, port, from);
    if (connection.kind !== 'refused') return connection;
    const version = this.#everywhere.find(ip, port);
    return version === undefined ? connection : { kind: 'refused', elsewhere: whyApart(version) };
  }
}

function whyApart(version: string): string {
  const others =
    version === VERSION
      ? 'code in another realm does, such as another test file or a vm context'
      : `another copy of llm-datadist does, version ${version}, this is version ${VERSION}`;
  return (
    `in this process ${others}, and mocks in memory find only those of their version and realm: ` +
    'use LLM_DATADIST_MOCK_FABRIC=tcp'
  );
}

/** One for all copies of a version, whose objects know how to deal with each other. */
const KEY = Symbol.for(`llm-datadist.mockFabric/${VERSION}`);

const shared = globalThis as unknown as Record<symbol, Fabric | undefined>;

/** The network that all mock instances of this realm share, also those of other copies of the package. */
export function processFabric(): Fabric {
  return (shared[KEY] ??= new ProcessFabric());
}
