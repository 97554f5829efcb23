import { hexAddress } from './address';
import type { Backend } from './backend/backend';
import { LLMException } from './exception';
import { AllocatedRegion } from './memory';
import { isHost, Placement } from './placement';
import { Regions } from './regions';
import { Registrations } from './registrations';
import { shortList } from './short-list';
import { LLMStatusCode } from './status';

/**
 * The life of one instance, shared by everything that was made from it: what is initialised, what is in flight, what
 * is registered and allocated.
 *
 * `Finalize` of the library neither waits for calls that run nor survives them, so calls are counted here: from the
 * moment that `finalize()` is called new ones are refused, and those in flight end first.
 */
export class Instance {
  readonly registrations = new Registrations();
  readonly regions = new Regions();
  #initialized = false;
  /** Calls of finalize that have not ended: from the first one on no other call starts. */
  #finalizing = 0;
  /** The finalize after which no init has been called. */
  #lastFinalize: Promise<void> | undefined;
  /** Init, role switch and finalize run one after the other. */
  #control: Promise<unknown> = Promise.resolve();
  #controlPending = 0;
  #inFlight = 0;
  #whenIdle: (() => void) | undefined;

  constructor(
    readonly clusterId: bigint,
    readonly backend: Backend,
    readonly guards: boolean,
    readonly requireLayout: boolean,
  ) {}

  get isInitialized(): boolean {
    return this.#initialized;
  }

  get isFinalizing(): boolean {
    return this.#finalizing > 0;
  }

  async init(work: () => Promise<void>): Promise<void> {
    // After a finalize that is under way: the library's object can be initialised again.
    await this.#inTurn(async () => {
      await work();
      if (!this.#initialized) abandoned.register(this, { backend: this.backend, clusterId: this.clusterId }, this);
      this.#initialized = true;
    });
  }

  switchRole(work: () => Promise<void>): Promise<void> {
    return this.run('switchRole', () => this.#inTurn(work));
  }

  finalize(): Promise<void> {
    if (this.#lastFinalize !== undefined) return this.#lastFinalize;
    if (!this.#initialized && this.#controlPending === 0) return Promise.resolve();
    this.#finalizing += 1;
    const ended = this.#inTurn(() => this.#end());
    this.#lastFinalize = ended;
    return ended;
  }

  /** Runs a call of the instance; `finalize()` waits for it, and comes before it when it was called before it. */
  async run<T>(operation: string, work: () => Promise<T>): Promise<T> {
    if (this.isFinalizing) {
      throw new LLMException(LLMStatusCode.LLM_FAILED, {
        operation,
        message: `cluster ${this.clusterId} is being finalized`,
        remedy: 'Call init() again when finalize() has ended, or make an instance of its own for this work.',
        recovery: 'fix-input',
      });
    }
    if (!this.#initialized) {
      throw new LLMException(LLMStatusCode.LLM_FAILED, {
        operation,
        message: `cluster ${this.clusterId} is not initialised`,
        remedy: 'Call init() first, and again after finalize().',
        recovery: 'fix-input',
      });
    }
    this.#inFlight += 1;
    try {
      return await work();
    } finally {
      this.#inFlight -= 1;
      if (this.#inFlight === 0) this.#whenIdle?.();
    }
  }

  async allocate(byteLength: bigint, placement: number): Promise<AllocatedRegion> {
    const address = await this.backend.malloc(byteLength, placement);
    const where = isHost(placement) ? Placement.HOST : Placement.DEVICE;
    const region = new AllocatedRegion(this, address, byteLength, where);
    this.regions.add(region);
    return region;
  }

  async #end(): Promise<void> {
    try {
      if (this.#inFlight > 0) {
        await new Promise<void>((resolve) => {
          this.#whenIdle = resolve;
        });
        this.#whenIdle = undefined;
      }
      if (!this.#initialized) return;
      await this.backend.finalize();
      await this.#freeRegions();
    } finally {
      abandoned.unregister(this);
      this.registrations.clear();
      this.#initialized = false;
      this.#finalizing -= 1;
      if (this.#finalizing === 0) this.#lastFinalize = undefined;
    }
  }

  /** Device memory does not outlive the device's reset, so what is left ends here, and not in silence. */
  async #freeRegions(): Promise<void> {
    const left = this.regions.all();
    if (left.length === 0) return;
    for (const region of left) await region.release();
    const bytes = left.reduce((sum, region) => sum + region.byteLength, 0n);
    const places = left.map(({ address, byteLength }) => `${hexAddress(address)} (${byteLength} bytes)`);
    process.emitWarning(
      `finalize() of cluster ${this.clusterId} freed ${left.length} memory regions of ${bytes} bytes that were still ` +
        `allocated: ${shortList(places, 8).join(', ')}. Call deallocateCache() or free() first, or use "await using".`,
      'LLMDataDistMemoryWarning',
    );
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    this.#controlPending += 1;
    this.#lastFinalize = undefined;
    const turn = this.#control.then(work).finally(() => {
      this.#controlPending -= 1;
    });
    // The next one comes whatever becomes of this one; its failure is told to its own caller.
    this.#control = turn.catch(() => undefined);
    return turn;
  }
}

/** Instances that were garbage-collected while initialised: they hold a port, links and memory. */
const abandoned = new FinalizationRegistry<{ backend: Backend; clusterId: bigint }>(({ backend, clusterId }) => {
  process.emitWarning(
    `an LLMDataDist of cluster ${clusterId} was garbage-collected without finalize(); it is finalized now. ` +
      'Call finalize(), or use "await using".',
    'LLMDataDistLeakWarning',
  );
  backend.finalize().catch((error: unknown) => {
    process.emitWarning(
      `finalizing the abandoned instance of cluster ${clusterId} failed: ${String(error)}`,
      'LLMDataDistLeakWarning',
    );
  });
});
