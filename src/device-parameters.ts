/** Weights that stay on a device, with mirrors on the host for whoever reads or writes them. */

import type { DeviceMemory, PlacedOps } from "./ops/device-ops.ts";
import type { DeviceTensor } from "./ops/device-tensor.ts";
import type { Dtype } from "./ops/ops.ts";
import { onHost } from "./ops/storage.ts";
import type { Optimizer } from "./optimizer.ts";
import { adoptWeights, runsOf, weightOf, type Shape, type Weight, type WeightStore } from "./parameters.ts";
import type { NamedNumbers, Parameter, ReferenceWeights } from "./policy.ts";
import { Snapshots, type Snapshot } from "./snapshot.ts";

/** What the host has of the weights and the gradients. */
interface Mirror {
  readonly data: Float32Array;
  readonly grad: Float32Array;
  readonly parameters: readonly Parameter[];
}

/** A norm or a bias: computed with in f32, whatever the weights are rounded to. */
interface Vector {
  readonly numbers: DeviceTensor;
  /** where it is among the weights */
  readonly from: DeviceTensor;
}

/**
 * Weights, gradients and, of weights in a half type, their masters as of `Parameters`; the moments of the optimizer follow them
 * to the device. There half weights are stored as such.
 */
export class DeviceParameters implements WeightStore {
  readonly #ops: PlacedOps;
  /** the type that the weights are rounded to, where they are */
  readonly #half: Exclude<Dtype, "f32"> | undefined;
  readonly #weights: DeviceTensor;
  /** the weights themselves where these are f32 */
  readonly #masters: DeviceTensor;
  /** of half weights */
  readonly #vectors: readonly Vector[];
  readonly #grad: DeviceTensor;
  readonly #shapes: readonly Shape[];
  readonly #byName: ReadonlyMap<string, Weight>;
  readonly #snapshots: Snapshots;
  /** of the weights as they are, where somebody asked for it since the last step */
  #mirror: Mirror | undefined;

  /** All 0. */
  constructor(ops: PlacedOps & { readonly memory: DeviceMemory }, shapes: readonly Shape[], dtype: Dtype = "f32") {
    const { memory } = ops;
    const runs = runsOf(shapes);
    const count = runs.at(-1)?.end ?? 0;
    this.#ops = ops;
    this.#shapes = shapes;
    this.#half = dtype === "f32" ? undefined : dtype;
    this.#weights = memory.allocate([count], dtype);
    this.#masters = this.#half === undefined ? this.#weights : memory.allocate([count]);
    this.#grad = memory.allocate([count]);
    this.#snapshots = new Snapshots(this.#weights, dtype);
    const vectors: Vector[] = [];
    const placeOf = (shape: readonly number[], from: DeviceTensor): DeviceTensor => {
      if (this.#half === undefined || shape.length > 1) return from;
      const numbers = memory.allocate([from.length]);
      vectors.push({ numbers, from });
      return numbers;
    };
    this.#byName = new Map(
      runs.map(({ name, shape, start, end }) => {
        const data = placeOf(shape, this.#weights.subarray(start, end));
        return [name, { name, shape, data, grad: this.#grad.subarray(start, end) }];
      }),
    );
    this.#vectors = vectors;
  }

  get(name: string): Weight {
    return weightOf(this.#byName, name);
  }

  /** Copies as of now, the same arrays until the next step; what is written to their data counts from `adopt` on. */
  get list(): readonly Parameter[] {
    if (this.#mirror === undefined) {
      const [data, grad] = [this.#weights, this.#grad].map((tensor) => onHost(tensor) as Float32Array);
      const parameters = runsOf(this.#shapes).map(({ name, shape, start, end }) => ({
        name,
        shape,
        data: data.subarray(start, end),
        grad: grad.subarray(start, end),
      }));
      this.#mirror = { data, grad, parameters };
    } else {
      this.#mirror.grad.set(onHost(this.#grad));
    }
    return this.#mirror.parameters;
  }

  /** Of half weights copies as of now. */
  get masters(): readonly NamedNumbers[] {
    if (this.#half === undefined) return this.list;
    const masters = onHost(this.#masters);
    return runsOf(this.#shapes).map(({ name, shape, start, end }) => ({
      name,
      shape,
      data: masters.subarray(start, end),
    }));
  }

  /** Moves the masters by the gradients, which are cleared, also where the optimizer throws. Gives what it gives. */
  step(optimizer: Optimizer): number {
    this.#snapshots.separate();
    try {
      const norm = optimizer.step(this.#ops, this.#masters, this.#grad);
      this.#round();
      return norm;
    } finally {
      this.#grad.clear();
      this.#mirror = undefined;
    }
  }

  /** As of `Parameters`. */
  adopt(): void {
    if (this.#mirror === undefined) return;
    const { data } = this.#mirror;
    if (this.#half === undefined) {
      this.#weights.upload(data);
      return;
    }
    const masters = onHost(this.#masters);
    if (!adoptWeights(this.#half, data, masters)) return;
    this.#masters.upload(masters);
    this.#round();
  }

  copyFrom(other: DeviceParameters): void {
    this.#snapshots.separate();
    this.#masters.copyFrom(other.#masters);
    this.#round();
    this.#mirror = undefined;
  }

  /** As of `Parameters`; what it keeps of its own lies on the host. */
  snapshot(from?: ReferenceWeights): Snapshot {
    return this.#snapshots.take(from);
  }

  exchanged<T>(snapshot: Snapshot, measure: () => T): T {
    const { own } = snapshot;
    if (own === undefined) return measure();
    this.adopt();
    const live = this.#half === undefined ? onHost(this.#weights) : undefined;
    this.#weights.upload(own);
    this.#fillVectors();
    try {
      return measure();
    } finally {
      if (live === undefined) this.#round();
      else this.#weights.upload(live);
    }
  }

  dispose(): void {
    const vectors = this.#vectors.map(({ numbers }) => numbers);
    for (const tensor of [this.#weights, this.#masters, this.#grad, ...vectors]) tensor.dispose();
  }

  /** The weights from the masters, where they are not those. */
  #round(): void {
    if (this.#half === undefined) return;
    this.#weights.copyFrom(this.#masters);
    this.#fillVectors();
  }

  #fillVectors(): void {
    for (const { numbers, from } of this.#vectors) numbers.copyFrom(from);
  }
}
