/** Arguments, settings and results of credit and loss. */

import type { LogprobsInputs } from "./logprobs.ts";
import type { Floats, GradientOf, Values } from "./values.ts";

export interface ScatterByStepArguments {
  /** `[S, 2]` Σ positive, Σ negative */
  readonly stepCredits: Floats;
  /** `[N]` −1: no credit */
  readonly stepOf: Int32Array;
  readonly stepOffsets?: never;
  readonly targets?: never;
  /** `[N, 2]` */
  readonly advantages?: Floats;
}

/** Steps whose targets lie side by side. */
export interface ScatterByOffsetsArguments {
  /** `[S, 2]` */
  readonly stepCredits: Floats;
  /**
   * `[S + 1]` step s owns the targets stepOffsets[s] … stepOffsets[s + 1); never falling, so no two steps overlap. Targets
   * before the first step and after the last carry no credit; nor does a gap, which is a step of credit 0.
   */
  readonly stepOffsets: Int32Array;
  /** N, where targets follow the last step; default its end */
  readonly targets?: number;
  readonly stepOf?: never;
  /** `[N, 2]` */
  readonly advantages?: Floats;
}

/** Credits to targets, by the step of every target or by the targets of every step. */
export type ScatterAdvantagesArguments = ScatterByStepArguments | ScatterByOffsetsArguments;

export interface ScatterByStepBackwardArguments {
  /** `[N, 2]` */
  readonly dadvantages: Floats;
  readonly stepOf: Int32Array;
  /** the number of credit rows S */
  readonly steps: number;
  readonly stepOffsets?: never;
  /** `[S, 2]` */
  readonly dstepCredits?: Floats;
}

export interface ScatterByOffsetsBackwardArguments {
  /** `[N, 2]` */
  readonly dadvantages: Floats;
  /** `[S + 1]` */
  readonly stepOffsets: Int32Array;
  readonly stepOf?: never;
  readonly steps?: never;
  /** `[S, 2]` */
  readonly dstepCredits?: Floats;
}

export type ScatterAdvantagesBackwardArguments = ScatterByStepBackwardArguments | ScatterByOffsetsBackwardArguments;

/**
 * KL(policy ‖ reference) per sampled token, d = ref − logprob: k1 = −d, k2 = d²/2, k3 = eᵈ − d − 1, abs = |d|; `k1+` and
 * `k3+` have the value of k1 and k3 and the gradient of k2.
 */
export type KlEstimator = "k1" | "k2" | "k3" | "abs" | "k1+" | "k3+";

export interface KlOptions {
  readonly estimator: KlEstimator;
  /** d is clamped to ± this before the estimator; default none. The gradient is 0 where a clamp is active. */
  readonly logRatioClamp?: number;
  /** the value is clamped to ± this; default none */
  readonly valueClamp?: number;
}

export interface KlArguments extends KlOptions {
  /** `[N]` */
  readonly logprobs: Floats;
  /** `[N]` */
  readonly refLogprobs: Floats;
  /** `[N]` upstream gradient; default 1 */
  readonly dkl?: Floats;
  /** `[N]` */
  readonly kl?: Floats;
  /** `[N]` */
  readonly dlogprobs?: Floats;
}

/** What every form of the policy loss can be told. */
export interface LossSettings {
  /** the log ratio is clamped to ± this, without gradient outside; default none */
  readonly logRatioClamp?: number;
  /** a KL penalty to `refLogprobs`, times `coefficient`, normalised like the surrogate */
  readonly kl?: KlOptions & {
    readonly coefficient: number;
    /** multiplied by the ratio */ readonly timesRatio?: boolean;
  };
}

/** Settings of the clipped surrogate; the numbers the kernel takes. */
export interface ClipSettings extends LossSettings {
  readonly epsLow: number;
  readonly epsHigh: number;
  /** upper bound of the ratio in the unclipped branch; default none */
  readonly delta?: number;
  /** bounds the loss of negative advantages at −dualClip · A; default none; > 1 */
  readonly dualClip?: number;
}

/** The targets of a policy loss. */
export interface LossTargets {
  /** `[N]` */
  readonly oldLogprobs: Floats;
  /** `[N, 2]` (A⁺, A⁻), or `[N]`, of any sign */
  readonly advantages: Floats;
  /** `[N]` the normaliser; 0 marks an absent target */
  readonly weights: Floats;
  /** `[N]` multiplies the surrogate but not the KL: importance weights, surrogate masks */
  readonly multipliers?: Floats;
  /** `[N]` needed with `kl` */
  readonly refLogprobs?: Floats;
  /** `[N]` receives the ratio of every present target */
  readonly ratios?: Floats;
}

export interface PolicyLossInputs extends ClipSettings, LossTargets {}

/** What `policyLoss.reinforce` takes, and every form of the loss besides the numbers of its own. */
export interface ReinforceArguments extends LossSettings, LossTargets {
  /** `[N]` */
  readonly logprobs: Floats;
  /** `[N]` */
  readonly dlogprobs?: Floats;
}

export interface PolicyLossArguments extends PolicyLossInputs, ReinforceArguments {}

export interface PolicyLossSequenceArguments extends PolicyLossArguments {
  /** `[B + 1]` sequence b owns targets `sequenceOffsets[b] … sequenceOffsets[b + 1]` */
  readonly sequenceOffsets: Int32Array;
}

export interface GspoTokenArguments extends PolicyLossSequenceArguments {
  /** upper bound of a sequence's mean log ratio, without gradient where it holds; default none */
  readonly sequenceLogRatioMax?: number;
}

export interface CispoArguments extends ReinforceArguments {
  /** lower bound of the ratio itself, 0 … 1; default 0 */
  readonly ratioMin?: number;
  /** upper bound of the ratio itself (1 + ε, not ε), ≥ 1; `Infinity` for none */
  readonly ratioMax: number;
}

export interface SapoArguments extends ReinforceArguments {
  /** sharpness of the gate where A > 0; > 0 */
  readonly tauPositive: number;
  /** sharpness of the gate where A < 0; > 0 */
  readonly tauNegative: number;
}

export interface DppoArguments extends ReinforceArguments {
  /** how far a token with A < 0 may have moved, in units of the divergence */
  readonly epsLow: number;
  /** how far a token with A > 0 may have moved */
  readonly epsHigh: number;
  /** upper bound of the ratio as a weight; default none */
  readonly ratioCap?: number;
}

export interface GmpoArguments extends ReinforceArguments {
  /** `[B + 1]` sequence b owns targets `sequenceOffsets[b] … sequenceOffsets[b + 1]` */
  readonly sequenceOffsets: Int32Array;
  /** the log ratio of a token with A < 0 counts as at least −epsLow */
  readonly epsLow: number;
  /** the log ratio of a token with A > 0 counts as at most epsHigh */
  readonly epsHigh: number;
}

export interface VespoArguments extends ReinforceArguments {
  /** `[B + 1]` sequence b owns targets `sequenceOffsets[b] … sequenceOffsets[b + 1]` */
  readonly sequenceOffsets: Int32Array;
  /** the exponent k of the sequence weight W in φ = e^λ W^k e^(−λ W), where A > 0; ≥ 0 */
  readonly kPositive: number;
  /** its decay λ, where A > 0; ≥ 0 */
  readonly lambdaPositive: number;
  /** k where A < 0 */
  readonly kNegative: number;
  /** λ where A < 0 */
  readonly lambdaNegative: number;
  /** `[B]` what a correction of the rollouts adds to log W: the sum of the logs of its weights */
  readonly logWeights?: Floats;
  /** the log ratio of a target counts as at most ± this; default 20 */
  readonly tokenLogRatioMax?: number;
  /** log W is at least this; default ln 1e−8 */
  readonly logWeightMin?: number;
  /** log W is at most this; default 20 */
  readonly logWeightMax?: number;
}

export interface ValueLossArguments {
  /** `[N]` of the value head being updated */
  readonly values: Floats;
  /** `[N]` what the values are regressed on */
  readonly returns: Floats;
  /** `[N]` the normaliser; 0 marks an absent target */
  readonly weights: Floats;
  /** how far a value may move from `oldValues`; default none */
  readonly clip?: number;
  /** `[N]` before the update; needed with `clip` */
  readonly oldValues?: Floats;
  /** `[N]` */
  readonly dvalues?: Floats;
}

export interface ValueLossResult {
  /** `[N]` */
  readonly dvalues: Floats;
  readonly metrics: {
    /** the weighted sum that is minimised */
    readonly loss: number;
    /** targets with weight ≠ 0 */
    readonly count: number;
    /** share of targets whose clipped error is the larger one */
    readonly clipFraction: number;
  };
}

/** Sums over the targets whose weight is not 0; `clipFraction` and the like are means over the same targets, 0 if none. */
export interface PolicyLossMetrics {
  /** the weighted sum that is minimised */
  readonly loss: number;
  /** targets with weight ≠ 0 */
  readonly count: number;
  /** share of targets whose clipped branch is the larger loss; outside the bounds for CISPO, dropped for DPPO */
  readonly clipFraction: number;
  /** share with ratio < 1 − epsLow and A < 0 */
  readonly clipFractionLow: number;
  /** share with ratio > 1 + epsHigh and A > 0 */
  readonly clipFractionHigh: number;
  /** share whose loss is bounded by the dual clip, or whose ratio by DPPO's cap */
  readonly clipFractionDual: number;
  /** mean of −log ratio: the k1 estimate of KL(old ‖ new) */
  readonly negLogRatio: number;
  /** mean of |log ratio| */
  readonly absLogRatio: number;
  /** mean of (ratio − 1) − log ratio: the k3 estimate of KL(old ‖ new) */
  readonly approxKl: number;
  readonly ratioMean: number;
  /** 0 where no target is present */
  readonly ratioMax: number;
  /** mean of the KL estimate to the reference, times the ratio where that is asked, before its coefficient */
  readonly kl: number;
}

export interface PolicyLossResult {
  /** `[N]` */
  readonly dlogprobs: Floats;
  readonly metrics: PolicyLossMetrics;
}

export interface PolicyUpdateOutputs<L extends Values = Floats> {
  /** `[N]` */
  readonly logprobs?: Floats;
  /** `[T]` */
  readonly lse?: Floats;
  /** `[T]`; `true` allocates it */
  readonly entropy?: Floats | true;
  /** `[N]` */
  readonly dlogprobs?: Floats;
  /** `[T, V]` of the logits' type; may be the logits */
  readonly dlogits?: GradientOf<L>;
}

/** What a form of the loss takes besides log-probs, which are those of the logits; `clip` where no other form is named. */
export type PolicyUpdateArguments<
  Loss extends ReinforceArguments = PolicyLossArguments,
  L extends Values = Floats,
> = LogprobsInputs<L> &
  Omit<Loss, "logprobs" | "dlogprobs"> &
  PolicyUpdateOutputs<L> & {
    /** `[T]` adds −Σ entropyWeights · entropy to the loss */
    readonly entropyWeights?: Floats;
  };

export interface PolicyUpdateResult<L extends Values = Floats> extends PolicyLossResult {
  readonly logprobs: Floats;
  readonly lse: Floats;
  readonly entropy?: Floats;
  readonly dlogits: GradientOf<L>;
}
