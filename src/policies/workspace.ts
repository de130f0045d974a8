import type { Numbers, PlacedOps } from "../ops/device-ops.ts";
import { release, storage } from "../ops/storage.ts";

/**
 * Named scratch arrays that are kept between passes and grow when a larger batch comes; views of what was smaller are of no use
 * then. Their contents are not cleared.
 */
export class Workspace {
  readonly #ops: PlacedOps;
  readonly #arrays = new Map<string, Numbers>();

  constructor(ops: PlacedOps) {
    this.#ops = ops;
  }

  /** The first `length` elements of the array of this name, whatever an earlier pass left in them. */
  take(name: string, length: number): Numbers {
    let array = this.#arrays.get(name);
    if (array === undefined || array.length < length) {
      release(array);
      array = storage(this.#ops, Math.ceil(length * 1.25));
      this.#arrays.set(name, array);
    }
    return array.subarray(0, length);
  }

  /** Lets go of all arrays. */
  clear(): void {
    this.#arrays.forEach(release);
    this.#arrays.clear();
  }
}
