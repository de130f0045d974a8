/** Named tensors in one flat array, so that the optimizer's ops see one pair of arrays. */

import { roundTo, widen } from "./ops/halves.ts";
import type { Dtype, Floats, Ops } from "./ops/ops.ts";
import type { Optimizer } from "./optimizer.ts";
import type { Parameter, ReferenceWeights } from "./policy.ts";
import { Snapshot } from "./snapshot.ts";

export interface Shape {
  readonly name: string;
  readonly shape: readonly number[];
}

/**
 * Weights, gradients and, where the weights are kept in a half type, the master copies that the optimizer moves: a step that is
 * smaller than the spacing of the half type is not lost. The weights are the masters rounded, to the nearest and ties to even.
 */
export class Parameters {
  /** with the weights that are computed with */
  readonly list: readonly Parameter[];
  /** with the master copies */
  readonly masters: readonly Parameter[];
  readonly #ops: Ops;
  readonly #dtype: Dtype;
  /** the type that the weights are rounded to, where they are */
  readonly #half: Exclude<Dtype, "f32"> | undefined;
  /** snapshots that hold nothing of their own yet */
  readonly #sharing = new Set<Snapshot>();
  readonly #weights: Floats;
  readonly #masters: Floats;
  readonly #grad: Floats;
  readonly #byName: ReadonlyMap<string, Parameter>;

  /** All 0. */
  constructor(ops: Ops, shapes: readonly Shape[], dtype: Dtype = "f32") {
    const sizes = shapes.map(({ shape }) => shape.reduce((product, size) => product * size, 1));
    const count = sizes.reduce((sum, size) => sum + size, 0);
    this.#ops = ops;
    this.#dtype = dtype;
    this.#weights = ops.allocate(count);
    this.#grad = ops.allocate(count);
    this.#half = dtype === "f32" ? undefined : dtype;
    this.#masters = this.#half === undefined ? this.#weights : ops.allocate(count);
    const views = (data: Floats): Parameter[] => {
      let offset = 0;
      return shapes.map(({ name, shape }, index) => {
        const [start, end] = [offset, offset + sizes[index]];
        offset = end;
        return { name, shape, data: data.subarray(start, end), grad: this.#grad.subarray(start, end) };
      });
    };
    this.list = views(this.#weights);
    this.masters = this.#half === undefined ? this.list : views(this.#masters);
    this.#byName = new Map(this.list.map((parameter) => [parameter.name, parameter]));
  }

  get(name: string): Parameter {
    const parameter = this.#byName.get(name);
    if (parameter === undefined)
      throw new RangeError(`parameters: expected a known name, received ${JSON.stringify(name)}`);
    return parameter;
  }

  /**
   * Moves the masters by the gradients, which are cleared, also where the optimizer throws. Gives what it gives. Snapshots that
   * still share the weights take their copies first.
   */
  step(optimizer: Optimizer): number {
    this.#separate();
    try {
      const norm = optimizer.step(this.#ops, this.#masters, this.#grad);
      this.#round();
      return norm;
    } finally {
      // A gradient that is not finite must not outlive its step.
      this.#grad.fill(0);
    }
  }

  /** Takes over weights that somebody has written: they become the masters, where they are not those rounded. */
  adopt(): void {
    if (this.#half === undefined) return;
    const expected = this.#ops.allocate(Math.min(chunk, this.#weights.length));
    for (let begin = 0; begin < this.#weights.length; begin += chunk) {
      const weights = this.#weights.subarray(begin, begin + chunk);
      const masters = this.#masters.subarray(begin, begin + chunk);
      roundTo(this.#half, masters, expected);
      for (let i = 0; i < weights.length; i++) if (weights[i] !== expected[i]) masters[i] = weights[i];
      roundTo(this.#half, masters, weights);
    }
  }

  copyFrom(other: Parameters): void {
    this.#separate();
    this.#masters.set(other.#masters);
    this.#weights.set(other.#weights);
  }

  /**
   * The weights as they are now, which are shared until a step moves them: then they are copied, in the type that they are
   * rounded to.
   * @param from what they were, taken over; nothing is shared then
   */
  snapshot(from?: ReferenceWeights): Snapshot {
    const snapshot = new Snapshot(this.#weights, this.#dtype, from);
    if (from === undefined) this.#sharing.add(snapshot);
    return snapshot;
  }

  /** What `measure` gives with a snapshot's weights in place of these, which are back when it returns or throws. */
  exchanged<T>(snapshot: Snapshot, measure: () => T): T {
    const { own } = snapshot;
    if (own === undefined) return measure();
    // Weights that somebody has written are not lost with the rounding below.
    this.adopt();
    if ("dtype" in own) widen(own.dtype, own.data, this.#weights);
    else swap(own, this.#weights);
    try {
      return measure();
    } finally {
      if ("dtype" in own) this.#round();
      else swap(own, this.#weights);
    }
  }

  #separate(): void {
    for (const snapshot of this.#sharing) snapshot.separate();
    this.#sharing.clear();
  }

  /** The weights from the masters, where they are not those. */
  #round(): void {
    if (this.#half !== undefined) roundTo(this.#half, this.#masters, this.#weights);
  }
}

/** Numbers that are worked on at a time: what is set aside of them stays in the cache. */
const chunk = 1 << 14;

function swap(a: Floats, b: Floats): void {
  const aside = a.slice(0, chunk);
  for (let begin = 0; begin < a.length; begin += chunk) {
    const [part, other] = [a.subarray(begin, begin + chunk), b.subarray(begin, begin + chunk)];
    aside.set(part);
    part.set(other);
    other.set(aside.subarray(0, part.length));
  }
}
