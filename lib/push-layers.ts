import type { BackendCacheDesc, KvCacheExtParam, PushProgress } from './backend/backend';
import { LLMException } from './exception';
import { isRefusal } from './guard/rule';
import { withLayersCompleted } from './rejection';
import { RELEASED, releasedOf } from './released';
import { LLMStatusCode } from './status';

/** What the library answers before it writes a layer, unless the peer has changed the link since the first one. */
const BEFORE_A_LAYER: ReadonlySet<number> = new Set([
  LLMStatusCode.LLM_NOT_YET_LINK,
  LLMStatusCode.LLM_KV_CACHE_NOT_EXIST,
]);

/** The layers of one push, as far as it is known which ones are written. */
export class PushLayers implements PushProgress {
  /** None before the backend is called. A backend that learns more says it. */
  layersCompleted: number | undefined = 0;
  #hasBegun = false;

  /** The backend is called now. The library does not say which of several layers it has written. */
  begin({ srcLayerRange: [first, last], tensorNumPerLayer }: KvCacheExtParam, { numTensors }: BackendCacheDesc): void {
    const layers = first >= 0 ? last - first + 1 : Math.ceil(numTensors / tensorNumPerLayer);
    this.layersCompleted = layers <= 1 ? 0 : undefined;
    this.#hasBegun = true;
  }

  /**
   * @param isReachable whether peers can unlink or link anew during the push
   * @returns what the push is rejected with
   */
  explain(error: unknown, isReachable: boolean): unknown {
    if (this.#hasBegun && isEarly(error)) {
      // It may still write, unless it was taken back before it got to the library.
      return withLayersCompleted(error, releasedOf(error) === RELEASED ? 0 : undefined);
    }
    const hasNoLink = !isReachable && error instanceof LLMException && BEFORE_A_LAYER.has(error.statusCode);
    // A backend may look at the numbers of blocks itself.
    const isBefore = hasNoLink || isRefusal(error);
    return withLayersCompleted(error, this.layersCompleted ?? (isBefore ? 0 : undefined));
  }
}

function isEarly(error: unknown): boolean {
  if (error instanceof LLMException) return error.deadline === 'caller' || error.deadline === 'package';
  return error instanceof Error && error.name === 'AbortError';
}
