/** Weights as they were, shared with those that are trained for as long as the two are the same. */

import { bitsOf } from "./ops/halves.ts";
import type { Dtype, Floats } from "./ops/ops.ts";
import type { ReferenceWeights } from "./policy.ts";

export class Snapshot {
  readonly #live: Floats;
  readonly #dtype: Dtype;
  #own: ReferenceWeights | undefined;

  /**
   * @param live what is trained; it holds numbers of the type
   * @param own what the weights were, taken over; default as they are now
   * @throws RangeError where `own` has another type or length
   */
  constructor(live: Floats, dtype: Dtype, own?: ReferenceWeights) {
    this.#live = live;
    this.#dtype = dtype;
    if (own !== undefined) {
      const [type, length] = "dtype" in own ? [own.dtype, own.data.length] : ["f32", own.length];
      if (type !== dtype || length !== live.length) {
        throw new RangeError(
          `reference: expected weights of ${dtype} [${live.length}], received those of ${type} [${length}]`,
        );
      }
    }
    this.#own = own;
  }

  /** What it holds itself; undefined: nothing, it is what is trained. */
  get own(): ReferenceWeights | undefined {
    return this.#own;
  }

  get bytes(): number {
    if (this.#own === undefined) return 0;
    return ("dtype" in this.#own ? this.#own.data : this.#own).byteLength;
  }

  /** The live array where there is one. */
  get weights(): ReferenceWeights {
    if (this.#own !== undefined) return this.#own;
    return this.#dtype === "f32" ? this.#live : { dtype: this.#dtype, data: bitsOf(this.#dtype, this.#live) };
  }

  /** Takes a copy of what it shares: from now on the live weights may move. */
  separate(): void {
    const { weights } = this;
    this.#own ??= "dtype" in weights ? weights : weights.slice();
  }
}
