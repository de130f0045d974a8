/**
 * The Ops interface: one method per kernel of `native/ops.h`, which has the formulas. Every backend implements it, and
 * `reference.ts` specifies it in float64.
 *
 * Shapes: T packed positions, N targets, S credit rows, V vocabulary, H hidden, R rows of a decoding batch. Arrays are flat
 * and row-major. Sizes are read from the arrays: T from `targetOffsets [T + 1]`, N from `targets [N]`, V from
 * `logits [T, V]`. An output that is not passed is allocated; what was written is returned. A wrong kind of array throws a
 * TypeError, a wrong size or value a RangeError, worded `op: expected argument [shape] …, received …`.
 */

import type {
  LogprobsArguments,
  LogprobsResult,
  LogprobsBackwardArguments,
  LinearLogprobsArguments,
  LinearLogprobsResult,
  LinearLogprobsBackwardArguments,
} from "./arguments/logprobs.ts";
import type {
  ScatterAdvantagesArguments,
  ScatterAdvantagesBackwardArguments,
  KlArguments,
  ReinforceArguments,
  PolicyLossArguments,
  PolicyLossSequenceArguments,
  GspoTokenArguments,
  CispoArguments,
  SapoArguments,
  DppoArguments,
  GmpoArguments,
  VespoArguments,
  ValueLossArguments,
  ValueLossResult,
  PolicyLossResult,
  PolicyUpdateArguments,
  PolicyUpdateResult,
} from "./arguments/loss.ts";
import type {
  LinearArguments,
  LinearBackwardArguments,
  RopeArguments,
  TreeAttentionArguments,
  TreeAttentionBackwardArguments,
  DecodeAttentionArguments,
} from "./arguments/model.ts";
import type { AdamwArguments } from "./arguments/optimizer.ts";
import type { SampleArguments, SampleResult } from "./arguments/sample.ts";
import type { Floats, GradientOf, Values } from "./arguments/values.ts";

export * from "./arguments/logprobs.ts";
export * from "./arguments/loss.ts";
export * from "./arguments/model.ts";
export * from "./arguments/optimizer.ts";
export * from "./arguments/sample.ts";
export * from "./arguments/values.ts";

/** The forms of the policy loss. */
export interface PolicyLossOps {
  /** Clipped surrogate, one ratio per token (PPO, GRPO). */
  clip(args: PolicyLossArguments): PolicyLossResult;
  /** Clipped surrogate, one length-normalised ratio per sequence (GSPO, eq. 5). */
  sequenceClip(args: PolicyLossSequenceArguments): PolicyLossResult;
  /** Clipped surrogate: the value of the sequence's ratio, the gradient of the token's own (GSPO-token). */
  gspoToken(args: GspoTokenArguments): PolicyLossResult;
  /** −A · logprob, weighted by the clipped ratio held constant (CISPO). */
  cispo(args: CispoArguments): PolicyLossResult;
  /** A sigmoid of the ratio in place of the clip (SAPO). */
  sapo(args: SapoArguments): PolicyLossResult;
  /** −A · logprob; the old log-probs reach the metrics and `kl.timesRatio` alone. */
  reinforce(args: ReinforceArguments): PolicyLossResult;
  /** −A · logprob, weighted by the ratio, without tokens whose probability moved further than a total variation. */
  dppoTv(args: DppoArguments): PolicyLossResult;
  /** As `dppoTv`, measured by the KL divergence between taking the token and not taking it. */
  dppoKl(args: DppoArguments): PolicyLossResult;
  /** −mean A · geometric mean of clipped ratios, per sequence (GMPO); the two advantages of a target add up first. */
  gmpo(args: GmpoArguments): PolicyLossResult;
  /** −A · logprob, weighted by a smooth function of the whole sequence's importance weight, held constant (VESPO). */
  vespo(args: VespoArguments): PolicyLossResult;
}

/** `logprobs`, a form of the loss and `logprobsBackward` in one call, from the logits to their gradient. */
export type PolicyUpdateOps = {
  readonly [Form in keyof PolicyLossOps]: <L extends Values>(
    args: PolicyUpdateArguments<Parameters<PolicyLossOps[Form]>[0], L>,
  ) => PolicyUpdateResult<L>;
};

export interface Ops {
  /** `cpu/avx512`, `reference` … */
  readonly name: string;

  /** An array of zeros of the kind that these ops compute with: what a policy keeps its weights and activations in. */
  allocate(length: number): Floats;

  logprobs(args: LogprobsArguments<Values>): LogprobsResult;
  /** Gives `dlogits [T, V]`; rows without targets are zero. */
  logprobsBackward<L extends Values>(args: LogprobsBackwardArguments<L>): GradientOf<L>;
  /**
   * `logprobs` of the logits of a linear head, `hidden [T, H]` · `weight [V, H]`ᵀ + `bias [V]`, scaled and capped; the logits
   * `[T, V]` are never held. Only rows with targets are multiplied.
   */
  linearLogprobs(args: LinearLogprobsArguments): LinearLogprobsResult;
  /** Writes `dhidden`, adds to `dweight` and `dbias`; any of them may be left out. The logits are computed again. */
  linearLogprobsBackward(args: LinearLogprobsBackwardArguments): void;
  /** Gives `advantages [N, 2]`. */
  scatterAdvantages(args: ScatterAdvantagesArguments): Floats;
  /** Gives `dstepCredits [S, 2]`. */
  scatterAdvantagesBackward(args: ScatterAdvantagesBackwardArguments): Floats;
  kl(args: KlArguments): { readonly kl: Floats; readonly dlogprobs: Floats };
  readonly policyLoss: PolicyLossOps;
  /** Squared error of a value head, clipped around the old values. */
  valueLoss(args: ValueLossArguments): ValueLossResult;
  readonly policyUpdate: PolicyUpdateOps;
  /** √Σ grads² */
  gradNorm(args: { readonly grads: Floats }): number;
  adamw(args: AdamwArguments): void;
  sample(args: SampleArguments): SampleResult;

  /** `out [T, H]` (+)= rows of `table [V, H]` */
  embed(args: {
    readonly table: Values;
    readonly ids: Int32Array;
    readonly hidden: number;
    readonly out: Floats;
    readonly accumulate?: boolean;
  }): void;
  embedBackward(args: {
    readonly ids: Int32Array;
    readonly hidden: number;
    readonly dout: Floats;
    readonly dtable: Floats;
  }): void;
  /** `y [T, O]` (+)= `x [T, I]` · `weight [O, I]`ᵀ + `bias [O]` */
  linear(args: LinearArguments): void;
  linearBackward(args: LinearBackwardArguments): void;
  rmsNorm(args: {
    readonly x: Floats;
    readonly weight: Floats;
    readonly eps: number;
    readonly y: Floats;
    readonly rrms: Floats;
  }): void;
  rmsNormBackward(args: {
    readonly x: Floats;
    readonly weight: Floats;
    readonly rrms: Floats;
    readonly dy: Floats;
    readonly dx: Floats;
    readonly dweight: Floats;
    /** add to dx */
    readonly accumulate?: boolean;
  }): void;
  /** Rotates `x [T, heads, D]` in place. */
  rope(args: RopeArguments): void;
  ropeBackward(args: RopeArguments): void;
  treeAttention(args: TreeAttentionArguments): void;
  treeAttentionBackward(args: TreeAttentionBackwardArguments): void;
  decodeAttention(args: DecodeAttentionArguments): void;
  swiglu(args: { readonly gate: Floats; readonly up: Floats; readonly out: Floats }): void;
  swigluBackward(args: {
    readonly gate: Floats;
    readonly up: Floats;
    readonly dout: Floats;
    readonly dgate: Floats;
    readonly dup: Floats;
  }): void;
}
