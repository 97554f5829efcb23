import type { Backend, BlockLimits } from './backend/backend';
import { checkUint64List, checkUint64ListInPlace } from './check';
import { LLMException } from './exception';
import { guardBlockNumbers, guardBlockSizes, largestBlocks } from './guard/transfer';
import type { Transfer } from './guard/transfer';
import { LLMStatusCode } from './status';
import type { BlockList } from './transfer-options';

/** The lists of a block transfer: copied and looked through here, unless the backend does both itself. */
export class BlockLists {
  src: BigUint64Array;
  dst: BigUint64Array;
  readonly #readAtOnce: boolean;
  /** Whether each list is this object's, so that its caller cannot change it. */
  #ownsSrc: boolean;
  #ownsDst: boolean;
  #transfer: Transfer | undefined;

  constructor({ readsBlocksAtOnce = false }: Backend, srcBlocks: BlockList, dstBlocks: BlockList) {
    this.#readAtOnce = readsBlocksAtOnce;
    const check = readsBlocksAtOnce ? checkUint64ListInPlace : checkUint64List;
    this.src = check(srcBlocks, 'srcBlocks');
    this.dst = check(dstBlocks, 'dstBlocks');
    this.#ownsSrc = this.src !== srcBlocks;
    this.#ownsDst = this.dst !== dstBlocks;
  }

  /** One of the lists as it was when the call was made; `undefined` where its caller may have changed it since. */
  kept(side: 'src' | 'dst'): BigUint64Array | undefined {
    if (side === 'src') return this.#ownsSrc ? this.src : undefined;
    return this.#ownsDst ? this.dst : undefined;
  }

  /** The call has to wait, and its caller may change the lists meanwhile. */
  keep(): void {
    if (!this.#readAtOnce) return;
    this.src = new BigUint64Array(this.src);
    this.dst = new BigUint64Array(this.dst);
    this.#ownsSrc = this.#ownsDst = true;
  }

  /**
   * Refuses what a guard refuses.
   * @returns what the backend is to refuse, where it looks through the lists
   */
  guard(transfer: Transfer): BlockLimits | undefined {
    guardBlockSizes(transfer);
    if (!this.#readAtOnce) {
      this.#guardNumbers(transfer);
      return undefined;
    }
    this.#transfer = transfer;
    const { local, remote } = largestBlocks(transfer);
    return pulls(transfer) ? { src: remote, dst: local } : { src: local, dst: remote };
  }

  /** What the call's rejection is for the caller: of a refused block number the rule and the number. */
  explain(error: unknown): unknown {
    if (this.#transfer === undefined || !(error instanceof LLMException)) return error;
    if (error.statusCode !== LLMStatusCode.LLM_PARAM_INVALID) return error;
    try {
      this.#guardNumbers(this.#transfer);
    } catch (refusal) {
      return refusal;
    }
    return error;
  }

  #guardNumbers(transfer: Transfer): void {
    if (pulls(transfer)) guardBlockNumbers(transfer, this.dst, this.src);
    else guardBlockNumbers(transfer, this.src, this.dst);
  }
}

function pulls({ operation }: Transfer): boolean {
  return operation === 'pullBlocks';
}
