/** Arguments and results of the log-probability ops. */

import type { Floats, GradientOf, Values } from "./values.ts";

/** Targets of rows of logits, and what is done to a logit before the softmax. */
export interface RowTargets {
  /** `[T + 1]` position t predicts `targets[targetOffsets[t] … targetOffsets[t + 1])` */
  readonly targetOffsets: Int32Array;
  /** `[N]` token ids, or `ignoreIndex` */
  readonly targets: Int32Array;
  /** A target of this id is ignored: its log-probability is 0, without gradient. A row of such alone has no targets. */
  readonly ignoreIndex?: number;
  /** Divides the logits, last; a number, or one per row `[T]`. Default 1. */
  readonly temperature?: number | Floats;
  /** Multiplies the logits, first; default 1 */
  readonly logitScale?: number;
  /** Bounds the scaled logits: softcap · tanh(logit / softcap); default none */
  readonly softcap?: number;
}

export interface LogprobsInputs<L extends Values = Floats> extends RowTargets {
  /** `[T, V]` −∞ masks vocabulary, unless there is a softcap */
  readonly logits: L;
  /**
   * `[T, ⌈V / 8⌉]` which vocabulary a row's log-probabilities are normalised over, besides the target itself: bit v % 8 of
   * byte ⌊v / 8⌋, the lowest first. Default: all of it. The entropy is that of the whole vocabulary in any case.
   */
  readonly keep?: Uint8Array;
}

export interface LogprobsOutputs {
  /** `[T]` log-sum-exp over the kept vocabulary; rows without targets are left as they are */
  readonly lse: Floats;
  /** `[N]` nats */
  readonly logprobs: Floats;
}

export interface LogprobsArguments<L extends Values = Floats> extends LogprobsInputs<L>, Partial<LogprobsOutputs> {
  /** `[T]` nats; `true` allocates it */
  readonly entropy?: Floats | true;
  /** `[T]` Σ p²; `true` allocates it */
  readonly sumSquares?: Floats | true;
}

export interface LogprobsResult extends LogprobsOutputs {
  readonly entropy?: Floats;
  readonly sumSquares?: Floats;
}

export interface LogprobsBackwardArguments<L extends Values = Floats> extends LogprobsInputs<L> {
  readonly lse: Floats;
  /** `[N]` */
  readonly dlogprobs: Floats;
  /** `[T]` needed with `dentropy` */
  readonly entropy?: Floats;
  /** `[T]` */
  readonly dentropy?: Floats;
  /** `[T, V]` of the logits' type; may be the logits */
  readonly dlogits?: GradientOf<L>;
}

export interface LinearLogprobsInputs extends RowTargets {
  /** `[T, H]` */
  readonly hidden: Values;
  /** `[V, H]` */
  readonly weight: Values;
  /** `[V]` may hold −∞: masked vocabulary, unless there is a softcap */
  readonly bias?: Floats;
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
