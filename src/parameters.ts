/** Named tensors in one flat array, so that the optimizer's ops see one pair of arrays. */

import type { Numbers, PlacedOps } from "./ops/device-ops.ts";
import { roundTo, widen } from "./ops/halves.ts";
import type { Dtype, Floats } from "./ops/ops.ts";
import type { Optimizer } from "./optimizer.ts";
import type { NamedNumbers, Parameter, ReferenceWeights } from "./policy.ts";
import { Snapshots, type Snapshot } from "./snapshot.ts";

export interface Shape {
  readonly name: string;
  readonly shape: readonly number[];
}

/** A tensor as the ops see it: views into flat arrays, wherever these are. */
export interface Weight {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Numbers;
  /** accumulated, cleared by a step */
  readonly grad: Numbers;
}

/** The weights of a policy and what moves them. */
export interface WeightStore {
  get(name: string): Weight;
  /** the weights that are computed with, on the host */
  readonly list: readonly Parameter[];
  /** what a step moves, on the host */
  readonly masters: readonly NamedNumbers[];
  step(optimizer: Optimizer): number;
  /** Takes over what was written to `list`. */
  adopt(): void;
  /** Takes over the weights of a store of the same kind and shapes. */
  copyFrom(other: WeightStore): void;
  snapshot(from?: ReferenceWeights): Snapshot;
  /** What `measure` gives with a snapshot's weights in place of these. */
  exchanged<T>(snapshot: Snapshot, measure: () => T): T;
  /** Gives memory on a device back. */
  dispose?(): void;
}

/** Runs of a flat array, one per shape. */
export function runsOf(
  shapes: readonly Shape[],
): readonly (Shape & { readonly start: number; readonly end: number })[] {
  let offset = 0;
  return shapes.map(({ name, shape }) => {
    const start = offset;
    offset += shape.reduce((product, size) => product * size, 1);
    return { name, shape, start, end: offset };
  });
}

/** The weight of a name among others. */
export function weightOf<W extends { readonly name: string }>(weights: ReadonlyMap<string, W>, name: string): W {
  const weight = weights.get(name);
  if (weight === undefined) throw new RangeError(`parameters: expected a known name, received ${JSON.stringify(name)}`);
  return weight;
}

/**
 * Weights, gradients and, where the weights are kept in a half type, the master copies that the optimizer moves: a step that is
 * smaller than the spacing of the half type is not lost. The weights are the masters rounded, to the nearest and ties to even.
 */
export class Parameters implements WeightStore {
  /** with the weights that are computed with */
  readonly list: readonly Parameter[];
  /** with the master copies */
  readonly masters: readonly Parameter[];
  readonly #ops: PlacedOps;
  /** the type that the weights are rounded to, where they are */
  readonly #half: Exclude<Dtype, "f32"> | undefined;
  readonly #snapshots: Snapshots;
  readonly #weights: Floats;
  readonly #masters: Floats;
  readonly #grad: Floats;
  readonly #byName: ReadonlyMap<string, Parameter>;

  /** All 0. */
  constructor(ops: PlacedOps, shapes: readonly Shape[], dtype: Dtype = "f32") {
    const runs = runsOf(shapes);
    const count = runs.at(-1)?.end ?? 0;
    this.#ops = ops;
    this.#weights = ops.allocate(count);
    this.#snapshots = new Snapshots(this.#weights, dtype);
    this.#grad = ops.allocate(count);
    this.#half = dtype === "f32" ? undefined : dtype;
    this.#masters = this.#half === undefined ? this.#weights : ops.allocate(count);
    const views = (data: Floats): Parameter[] =>
      runs.map(({ name, shape, start, end }) => ({
        name,
        shape,
        data: data.subarray(start, end),
        grad: this.#grad.subarray(start, end),
      }));
    this.list = views(this.#weights);
    this.masters = this.#half === undefined ? this.list : views(this.#masters);
    this.#byName = new Map(this.list.map((parameter) => [parameter.name, parameter]));
  }

  get(name: string): Parameter {
    return weightOf(this.#byName, name);
  }

  /**
   * Moves the masters by the gradients, which are cleared, also where the optimizer throws. Gives what it gives. Snapshots that
   * still share the weights take their copies first.
   */
  step(optimizer: Optimizer): number {
    this.#snapshots.separate();
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
    adoptWeights(this.#half, this.#weights, this.#masters);
  }

  copyFrom(other: Parameters): void {
    this.#snapshots.separate();
    this.#masters.set(other.#masters);
    this.#weights.set(other.#weights);
  }

  /**
   * The weights as they are now, which are shared until a step moves them: then they are copied, in the type that they are
   * rounded to.
   * @param from what they were, taken over; nothing is shared then
   */
  snapshot(from?: ReferenceWeights): Snapshot {
    return this.#snapshots.take(from);
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

  /** The weights from the masters, where they are not those. */
  #round(): void {
    if (this.#half !== undefined) roundTo(this.#half, this.#masters, this.#weights);
  }
}

/** Numbers that are worked on at a time: what is set aside of them stays in the cache. */
const chunk = 1 << 14;

/**
 * Weights that are not their masters rounded become the masters; then all are those rounded.
 * @returns whether there were any
 */
export function adoptWeights(half: Exclude<Dtype, "f32">, weights: Floats, masters: Floats): boolean {
  const expected = masters.slice(0, chunk);
  let adopted = false;
  for (let begin = 0; begin < weights.length; begin += chunk) {
    const [given, master] = [weights, masters].map((numbers) => numbers.subarray(begin, begin + chunk));
    roundTo(half, master, expected.subarray(0, master.length));
    for (let i = 0; i < given.length; i++) {
      if (given[i] === expected[i]) continue;
      master[i] = given[i];
      adopted = true;
    }
    roundTo(half, master, given);
  }
  return adopted;
}

function swap(a: Floats, b: Floats): void {
  const aside = a.slice(0, chunk);
  for (let begin = 0; begin < a.length; begin += chunk) {
    const [part, other] = [a.subarray(begin, begin + chunk), b.subarray(begin, begin + chunk)];
    aside.set(part);
    part.set(other);
    other.set(aside.subarray(0, part.length));
  }
}
