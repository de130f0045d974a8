/** Arguments and results of the log-probability ops. */

import type { Floats } from "./values.ts";

export interface LogprobsInputs {
  /** `[T, V]` */
  readonly logits: Floats;
  /** `[T + 1]` position t predicts `targets[targetOffsets[t] … targetOffsets[t + 1])` */
  readonly targetOffsets: Int32Array;
  /** `[N]` token ids */
  readonly targets: Int32Array;
  /** Divides the logits; a number, or one per row `[T]`. Default 1. */
  readonly temperature?: number | Floats;
}

export interface LogprobsOutputs {
  /** `[T]` log-sum-exp; rows without targets are left as they are */
  readonly lse: Floats;
  /** `[N]` nats */
  readonly logprobs: Floats;
}

export interface LogprobsArguments extends LogprobsInputs, Partial<LogprobsOutputs> {
  /** `[T]` nats; `true` allocates it */
  readonly entropy?: Floats | true;
  /** `[T]` Σ p²; `true` allocates it */
  readonly sumSquares?: Floats | true;
}

export interface LogprobsResult extends LogprobsOutputs {
  readonly entropy?: Floats;
  readonly sumSquares?: Floats;
}

export interface LogprobsBackwardArguments extends LogprobsInputs {
  readonly lse: Floats;
  /** `[N]` */
  readonly dlogprobs: Floats;
  /** `[T]` needed with `dentropy` */
  readonly entropy?: Floats;
  /** `[T]` */
  readonly dentropy?: Floats;
  /** `[T, V]` may be the logits */
  readonly dlogits?: Floats;
}

export interface LinearLogprobsInputs {
  /** `[T, H]` */
  readonly hidden: Floats;
  /** `[V, H]` */
  readonly weight: Floats;
  /** `[V]` may hold −∞: masked vocabulary, unless there is a softcap */
  readonly bias?: Floats;
  /** `[T + 1]` position t predicts `targets[targetOffsets[t] … targetOffsets[t + 1])` */
  readonly targetOffsets: Int32Array;
  /** `[N]` token ids */
  readonly targets: Int32Array;
  /** Divides the logits, last; a number, or one per row `[T]`. Default 1. */
  readonly temperature?: number | Floats;
  /** Multiplies product and bias; default 1 */
  readonly logitScale?: number;
  /** Bounds the scaled logits: softcap · tanh(logit / softcap); default none */
  readonly softcap?: number;
}

export interface LinearLogprobsArguments extends LinearLogprobsInputs, Partial<LogprobsOutputs> {
  /** `[T]` nats; `true` allocates it */
  readonly entropy?: Floats | true;
}

export interface LinearLogprobsResult extends LogprobsOutputs {
  readonly entropy?: Floats;
}

export interface LinearLogprobsBackwardArguments extends LinearLogprobsInputs {
  /** `[T]` of the forward */
  readonly lse: Floats;
  /** `[N]` of the forward */
  readonly logprobs: Floats;
  /** `[N]` */
  readonly dlogprobs: Floats;
  /** `[T]` needed with `dentropy` */
  readonly entropy?: Floats;
  /** `[T]` */
  readonly dentropy?: Floats;
  /** `[T, H]` overwritten */
  readonly dhidden?: Floats;
  /** `[V, H]` added to */
  readonly dweight?: Floats;
  /** `[V]` added to */
  readonly dbias?: Floats;
}
