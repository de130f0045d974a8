/** AdamW with clipping by the global gradient norm, on the flat arrays of a policy. */

import type { Numbers, PlacedOps } from "./ops/device-ops.ts";
import type { Floats } from "./ops/ops.ts";
import { DeviceTensor } from "./ops/device-tensor.ts";
import { onHost, placed, storage } from "./ops/storage.ts";

export interface Optimizer {
  /** One step in place, where the arrays are; gives the gradient norm before clipping. */
  step(ops: PlacedOps, params: Numbers, grads: Numbers): number;
}

export interface AdamWOptions {
  /** learning rate of the next step; may be set between steps */
  readonly lr: number;
  readonly beta1?: number;
  readonly beta2?: number;
  readonly eps?: number;
  /** decoupled: times the rate, not through the moments */
  readonly weightDecay?: number;
  /** the gradient is scaled down to this norm where it is longer; default none */
  readonly maxGradNorm?: number;
}

/** What the optimizer remembers from step to step, as long as the parameters. */
export interface AdamWState {
  /** steps made */
  readonly steps: number;
  /** first moments; empty before the first step */
  readonly m: Floats;
  /** second moments; empty before the first step */
  readonly v: Floats;
}

/** Loshchilov & Hutter 2019, arXiv:1711.05101. The moments begin at 0 and follow the arrays of the first step. */
export class AdamW implements Optimizer {
  lr: number;
  readonly #options: Required<Omit<AdamWOptions, "lr">>;
  #m: Numbers = new Float32Array(0);
  #v: Numbers = new Float32Array(0);
  #steps = 0;

  constructor(options: AdamWOptions) {
    const { lr, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0, maxGradNorm = Infinity } = options;
    if (!(maxGradNorm > 0)) throw new RangeError(`AdamW: expected maxGradNorm to be above 0, received ${maxGradNorm}`);
    this.lr = lr;
    this.#options = { beta1, beta2, eps, weightDecay, maxGradNorm };
  }

  get steps(): number {
    return this.#steps;
  }

  /** The live state, not a copy, where the moments are on the host. */
  get state(): AdamWState {
    return { steps: this.#steps, m: onHost(this.#m), v: onHost(this.#v) };
  }

  /** Goes on from a state, whose arrays are taken over. */
  restore({ steps, m, v }: AdamWState): void {
    if (m.length !== v.length || (steps === 0) !== (m.length === 0)) {
      throw new RangeError(
        `AdamW: expected moments of one length, of which there are none before the first step, ` +
          `received ${m.length} and ${v.length} after ${steps} steps`,
      );
    }
    [this.#steps, this.#m, this.#v] = [steps, m, v];
  }

  step(ops: PlacedOps, params: Numbers, grads: Numbers): number {
    if (this.#steps === 0) {
      [this.#m, this.#v] = [storage(ops, params.length), storage(ops, params.length)];
    } else if (params instanceof DeviceTensor && !(this.#m instanceof DeviceTensor)) {
      [this.#m, this.#v] = [this.#m, this.#v].map((restored) => placed(ops, onHost(restored)));
    }
    const { maxGradNorm, ...settings } = this.#options;
    const gradNorm = ops.gradNorm({ grads });
    if (!Number.isFinite(gradNorm)) {
      throw new RangeError(`AdamW: expected a finite gradient, received one of norm ${gradNorm}; no step was made`);
    }
    const gradScale = gradNorm > maxGradNorm ? maxGradNorm / gradNorm : 1;
    const step = this.#steps + 1;
    ops.adamw({ params, grads, m: this.#m, v: this.#v, step, lr: this.lr, gradScale, ...settings });
    this.#steps = step;
    return gradNorm;
  }
}
