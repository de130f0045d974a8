/** Weights that stay on a device, with mirrors on the host for whoever reads or writes them. */

import type { DeviceMemory, PlacedOps } from "./ops/device-ops.ts";
import type { DeviceTensor } from "./ops/device-tensor.ts";
import { onHost } from "./ops/storage.ts";
import type { Optimizer } from "./optimizer.ts";
import { runsOf, weightOf, type Shape, type Weight, type WeightStore } from "./parameters.ts";
import type { Parameter, ReferenceWeights } from "./policy.ts";
import { Snapshots, type Snapshot } from "./snapshot.ts";

/** What the host has of the weights and the gradients. */
interface Mirror {
  readonly data: Float32Array;
  readonly grad: Float32Array;
  readonly parameters: readonly Parameter[];
}

/** Weights and gradients in f32; the moments of the optimizer follow them to the device. */
export class DeviceParameters implements WeightStore {
  readonly #ops: PlacedOps;
  readonly #weights: DeviceTensor;
  readonly #grad: DeviceTensor;
  readonly #shapes: readonly Shape[];
  readonly #byName: ReadonlyMap<string, Weight>;
  readonly #snapshots: Snapshots;
  /** of the weights as they are, where somebody asked for it since the last step */
  #mirror: Mirror | undefined;

  /** All 0. */
  constructor(ops: PlacedOps & { readonly memory: DeviceMemory }, shapes: readonly Shape[]) {
    const runs = runsOf(shapes);
    const count = runs.at(-1)?.end ?? 0;
    this.#ops = ops;
    this.#shapes = shapes;
    this.#weights = ops.memory.allocate([count]);
    this.#grad = ops.memory.allocate([count]);
    this.#snapshots = new Snapshots(this.#weights, "f32");
    this.#byName = new Map(
      runs.map(({ name, shape, start, end }) => [
        name,
        { name, shape, data: this.#weights.subarray(start, end), grad: this.#grad.subarray(start, end) },
      ]),
    );
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

  get masters(): readonly Parameter[] {
    return this.list;
  }

  /** Moves the weights by the gradients, which are cleared, also where the optimizer throws. Gives what it gives. */
  step(optimizer: Optimizer): number {
    this.#snapshots.separate();
    try {
      return optimizer.step(this.#ops, this.#weights, this.#grad);
    } finally {
      this.#grad.clear();
      this.#mirror = undefined;
    }
  }

  adopt(): void {
    if (this.#mirror !== undefined) this.#weights.upload(this.#mirror.data);
  }

  copyFrom(other: DeviceParameters): void {
    this.#snapshots.separate();
    this.#weights.copyFrom(other.#weights);
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
    const live = onHost(this.#weights);
    this.#weights.upload(own);
    try {
      return measure();
    } finally {
      this.#weights.upload(live);
    }
  }

  dispose(): void {
    this.#weights.dispose();
    this.#grad.dispose();
  }
}
