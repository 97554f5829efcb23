import { LLMBackendError } from '../exception';
import { BackendModuleError } from './backend-module';
import { namedBackends } from './backends';
import type { Host } from './host';
import type { HostAnswer, HostRequest } from './host-message';
import { END } from './host-message';
import { LocalHost } from './local-host';

/** Does what the parent asks for, with nodes in this process. */
function serve(answer: (message: HostAnswer) => void): void {
  let host: Host | undefined;
  let ending = false;

  const perform = (request: HostRequest) => {
    if (request.kind === 'start') {
      const { scenario, nodes } = request.setting;
      const { createBackend } = namedBackends(request.backend, { alone: nodes.size === 1 })(request.setting);
      host = new LocalHost(scenario, [...nodes.keys()], createBackend);
      return host.start(request.setting);
    }
    if (host === undefined) throw new RangeError(`a host was asked to ${request.kind} before it was started`);
    switch (request.kind) {
      case 'make':
        return host.make(request.step, request.foreign);
      case 'crc':
        return host.crc(request.cache);
      case 'finalize':
        return host.finalize(request.node);
      case 'free':
        return host.free();
    }
  };

  // What this rejects with is a fault of this package, and ends the process.
  const respond = async (request: HostRequest) => {
    try {
      answer({ kind: 'result', result: await perform(request) });
    } catch (error) {
      if (error instanceof LLMBackendError) answer({ kind: 'no library', failure: error.toJSON() });
      else if (error instanceof BackendModuleError) answer({ kind: 'no module', message: error.message });
      else throw error;
    }
  };

  process.on('message', (message: HostRequest | typeof END) => {
    if (message !== END) {
      void respond(message);
      return;
    }
    // The process ends by itself now: a backend that keeps it alive after finalize() has a fault.
    ending = true;
    process.disconnect();
  });
  process.on('disconnect', () => {
    // The parent is gone. Threads of a library may never return, and a clean end would wait for them.
    if (!ending) process.kill(process.pid, 'SIGKILL');
  });
}

if (require.main === module) {
  if (process.send === undefined) {
    console.error('This program is a part of the conformance command, which starts it: npm run conformance -- --help');
    process.exitCode = 2;
  } else {
    serve((message) => process.send?.(message));
  }
}
