/** Weights as they were, shared with those that are trained for as long as the two are the same. */

import type { Numbers } from "./ops/device-ops.ts";
import { DeviceTensor } from "./ops/device-tensor.ts";
import { bitsOf } from "./ops/halves.ts";
import type { Dtype, Floats } from "./ops/ops.ts";
import type { ReferenceWeights } from "./policy.ts";

export class Snapshot {
  readonly #live: Numbers;
  readonly #dtype: Dtype;
  #own: ReferenceWeights | undefined;

  /**
   * @param live what is trained; it holds numbers of the type
   * @param own what the weights were, taken over; default as they are now
   * @throws RangeError where `own` has another type or length
   */
  constructor(live: Numbers, dtype: Dtype, own?: ReferenceWeights) {
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

  /** The live array where there is one on the host. */
  get weights(): ReferenceWeights {
    if (this.#own !== undefined) return this.#own;
    const live = this.#live instanceof DeviceTensor ? this.#live.download() : this.#live;
    if (this.#dtype === "f32") return live as Floats;
    return { dtype: this.#dtype, data: live instanceof Uint16Array ? live : bitsOf(this.#dtype, live) };
  }

  /** Takes a copy of what it shares: from now on the live weights may move. */
  separate(): void {
    const { weights } = this;
    this.#own ??= "dtype" in weights || weights !== this.#live ? weights : weights.slice();
  }
}

/** The snapshots of weights that are trained. */
export class Snapshots {
  readonly #live: Numbers;
  readonly #dtype: Dtype;
  /** those that hold nothing of their own yet */
  readonly #sharing = new Set<Snapshot>();

  /** @param live as of `Snapshot` */
  constructor(live: Numbers, dtype: Dtype) {
    this.#live = live;
    this.#dtype = dtype;
  }

  /** The weights as they are now, shared until `separate`; or `from`, what they were, and nothing is shared. */
  take(from?: ReferenceWeights): Snapshot {
    const snapshot = new Snapshot(this.#live, this.#dtype, from);
    if (from === undefined) this.#sharing.add(snapshot);
    return snapshot;
  }

  /** To be called before the live weights move: those that share them take their copies. */
  separate(): void {
    for (const snapshot of this.#sharing) snapshot.separate();
    this.#sharing.clear();
  }
}
