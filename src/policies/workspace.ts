import type { Floats, Ops } from "../ops/ops.ts";

/** Named scratch arrays that are kept between passes and grow when a larger batch comes. Their contents are not cleared. */
export class Workspace {
  readonly #ops: Ops;
  readonly #arrays = new Map<string, Floats>();

  constructor(ops: Ops) {
    this.#ops = ops;
  }

  /** The first `length` elements of the array of this name, whatever an earlier pass left in them. */
  take(name: string, length: number): Floats {
    let array = this.#arrays.get(name);
    if (array === undefined || array.length < length) {
      array = this.#ops.allocate(Math.ceil(length * 1.25));
      this.#arrays.set(name, array);
    }
    return array.subarray(0, length);
  }

  /** Lets go of all arrays. */
  clear(): void {
    this.#arrays.clear();
  }
}
