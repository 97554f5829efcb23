import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import type { LLMClusterInfo } from '../../cluster';
import { endWithThisProcess } from '../../conformance/dependent-children';
import { LLMException } from '../../exception';
import type { ClusterPlan } from './cluster';
import { clusterInfo } from './cluster';
import { VerificationError } from './contents';
import type { PartyCalls, PartyMessage, PartyRequest } from './party-calls';
import { PARTY_PROGRAM } from './party-program';

interface Pending {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly pulled: ((count: number) => void) | undefined;
}

/** The process of a party, as the one that started it sees it. */
export class PartyProcess {
  readonly #child: ChildProcess;
  readonly #pending = new Map<number, Pending>();
  /** How it ended. */
  #end: string | undefined;
  #lastId = 0;
  #life = '';

  constructor(readonly plan: ClusterPlan) {
    // Ids and keys are bigints, which JSON has none of.
    this.#child = fork(PARTY_PROGRAM, [], {
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    endWithThisProcess(this.#child);
    this.#child.on('message', (message: PartyMessage) => {
      this.#take(message);
    });
    this.#child.once('error', (error) => {
      this.#lose(`could not be started: ${error.message}`);
    });
    this.#child.once('exit', (code, signal) => {
      this.#lose(signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`);
    });
  }

  get name(): string {
    return this.plan.name;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get info(): LLMClusterInfo {
    return clusterInfo(this.plan);
  }

  /** What it has reported when it started. */
  get life(): string {
    return this.#life;
  }

  async start(): Promise<void> {
    this.#life = await this.call('start', this.plan);
  }

  /**
   * Asks the process to do something.
   * @throws LLMException, VerificationError as there; Error when the process is gone
   */
  call<Name extends keyof PartyCalls>(
    name: Name,
    ...args: Parameters<PartyCalls[Name]>
  ): Promise<Awaited<ReturnType<PartyCalls[Name]>>> {
    return this.#ask(name, args, undefined) as Promise<Awaited<ReturnType<PartyCalls[Name]>>>;
  }

  /** The call of that name. @param pulled gets how many pulls have ended well */
  async stream(key: Parameters<PartyCalls['stream']>[0], pulled: (count: number) => void): Promise<void> {
    await this.#ask('stream', [key], pulled);
  }

  /** SIGKILL. @returns when it is dead */
  async kill(): Promise<void> {
    if (this.#end !== undefined) return;
    const exit = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exit;
  }

  /** Lets it finalize and end. */
  async stop(): Promise<void> {
    if (this.#end !== undefined) return;
    const exit = once(this.#child, 'exit');
    try {
      await this.call('stop');
    } finally {
      if (this.#child.connected) this.#child.disconnect();
      await exit;
    }
  }

  #ask(call: keyof PartyCalls, args: readonly unknown[], pulled: Pending['pulled']): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined) {
        reject(this.#lost(this.#end));
        return;
      }
      const id = ++this.#lastId;
      this.#pending.set(id, { resolve, reject, pulled });
      // A process that cannot be reached has ended, and 'exit' says how.
      this.#child.send({ id, call, args } satisfies PartyRequest, () => undefined);
    });
  }

  #take(message: PartyMessage): void {
    const pending = this.#pending.get(message.id);
    if (message.kind === 'pulled') {
      pending?.pulled?.(message.count);
      return;
    }
    this.#pending.delete(message.id);
    switch (message.kind) {
      case 'done':
        pending?.resolve(message.result);
        break;
      case 'exception':
        pending?.reject(LLMException.from(message.exception));
        break;
      case 'wrong content':
        pending?.reject(new VerificationError(message.message));
        break;
      case 'error':
        pending?.reject(new Error(`process "${this.name}": ${message.message}`));
    }
  }

  #lose(end: string): void {
    this.#end ??= end;
    for (const { reject } of this.#pending.values()) reject(this.#lost(end));
    this.#pending.clear();
  }

  #lost(end: string): Error {
    return new Error(`process "${this.name}" ${end}`);
  }
}
