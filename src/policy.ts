/** What the trainer needs of a policy. TablePolicy and TransformerPolicy are two; an outsider can write a third. */

import type { Batch } from "./batch.ts";
import type { Optimizer } from "./optimizer.ts";
import type { Numbers, PlacedOps } from "./ops/device-ops.ts";
import type { Dtype, Floats } from "./ops/ops.ts";
import type { Sampler } from "./trajectory/index.ts";

/**
 * One named tensor of a policy: views into its flat arrays, valid as long as the policy lives. Of a policy on a device they are
 * copies as of the call that gave them, until its next step.
 */
export interface Parameter {
  /** the checkpoint's name */
  readonly name: string;
  readonly shape: readonly number[];
  /** row-major; f32 on the native ops, f64 on the reference */
  readonly data: Floats;
  /** accumulated by `backward`, cleared by `step` */
  readonly grad: Floats;
}

/** A parameter without its gradient. */
export type NamedNumbers = Omit<Parameter, "grad">;

export interface SamplingOptions {
  /** 0: the most probable token. Default 1. */
  readonly temperature?: number;
  /** 0: none (default) */
  readonly topK?: number;
  /** 1: none (default) */
  readonly topP?: number;
  /** 0: none (default) */
  readonly minP?: number;
  /** an integer ≥ 0; the same seed and the same calls give the same tokens */
  readonly seed: number;
  /** requests that an earlier sampler of this seed has answered, to go on where it ended. Default 0. */
  readonly answered?: number;
}

/** A sampler that can be gone on with: every request draws from a stream of its own, numbered from 0. */
export interface PolicySampler extends Sampler {
  /** requests answered so far, those of `SamplingOptions.answered` included */
  readonly answered: number;
}

/** What log-probs and their gradients need of a batch. */
export type TargetBatch = Pick<Batch, "tokens" | "depth" | "subtreeEnd" | "targetOffsets" | "targets">;

/** A forward pass whose activations are kept until the next one. */
export interface ForwardPass {
  /** `[T, V]`, where the policy's ops compute; the caller may overwrite them with their gradient */
  readonly logits: Numbers;
  /** Adds the gradients of the parameters for `dlogits [T, V]`. Once per pass. */
  backward(dlogits: Numbers): void;
}

/** The weights of a reference, one after the other: numbers, or the bits of a half type. */
export type ReferenceWeights = Floats | { readonly dtype: Exclude<Dtype, "f32">; readonly data: Uint16Array };

/** A policy as it was when this was made: it can be measured, not trained. */
export interface Reference {
  /** Log-probs of each batch's targets, `[N]` in nats at temperature 1. Batches that come together may cost less than apart. */
  logprobs(batches: readonly TargetBatch[]): readonly Floats[];
  /** memory of its own, bytes; 0 while it shares the policy's weights */
  readonly bytes: number;
  /** to be stored; the array that is in use where it has one, not a copy */
  readonly weights: ReferenceWeights;
  /** Copies what it shares. Call before writing to the policy's parameters by hand, which no reference notices. */
  separate(): void;
}

export interface Policy {
  readonly ops: PlacedOps;
  /** V */
  readonly vocabulary: number;
  /** A sampler from the policy as it is at each call. It draws from streams of its own. */
  sampler(options: SamplingOptions): PolicySampler;
  /** Logits at every packed position of a batch. */
  forward(batch: Pick<Batch, "tokens" | "depth" | "subtreeEnd">): ForwardPass;
  /** In the checkpoint's order. */
  parameters(): readonly Parameter[];
  /**
   * One step of the optimizer on the gradients gathered so far, which are cleared, also where the optimizer throws. Gives their
   * norm before clipping.
   */
  step(optimizer: Optimizer): number;
  /** A policy of the same kind with the same parameters and nothing shared. */
  clone(): Policy;
  /**
   * The policy as it is now, for a KL penalty. Without this method a clone serves, which takes the memory of one.
   * @param from the weights of an earlier reference, taken over, in place of those of now
   */
  reference?(from?: ReferenceWeights): Reference;
}
