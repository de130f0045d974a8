/**
 * The Ops interface: one method per kernel of `native/ops.h`, which has the formulas. Every backend implements it, and
 * `reference.ts` specifies it in float64.
 *
 * Shapes: T packed positions, N targets, S credit rows, V vocabulary, H hidden, R rows of a decoding batch. Arrays are flat
 * and row-major. Sizes are read from the arrays: T from `targetOffsets [T + 1]`, N from `targets [N]`, V from
 * `logits [T, V]`. An output that is not passed is allocated; what was written is returned. A wrong kind of array throws a
 * TypeError, a wrong size or value a RangeError, worded `op: expected argument [shape] …, received …`.
 */

/** A float array on the host: what kernels take. The reference also takes and gives Float64Array. */
export type Floats = Float32Array | Float64Array;

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

export interface ScatterAdvantagesArguments {
  /** `[S, 2]` Σ positive, Σ negative */
  readonly stepCredits: Floats;
  /** `[N]` −1: no credit */
  readonly stepOf: Int32Array;
  /** `[N, 2]` */
  readonly advantages?: Floats;
}

export interface ScatterAdvantagesBackwardArguments {
  /** `[N, 2]` */
  readonly dadvantages: Floats;
  readonly stepOf: Int32Array;
  /** the number of credit rows S */
  readonly steps: number;
  /** `[S, 2]` */
  readonly dstepCredits?: Floats;
}

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

export interface PolicyUpdateArguments extends LogprobsInputs, PolicyLossInputs {
  /** `[T]` adds −Σ entropyWeights · entropy to the loss */
  readonly entropyWeights?: Floats;
  /** `[N]` */
  readonly logprobs?: Floats;
  /** `[T]` */
  readonly lse?: Floats;
  /** `[T]`; `true` allocates it */
  readonly entropy?: Floats | true;
  /** `[N]` */
  readonly dlogprobs?: Floats;
  /** `[T, V]` may be the logits */
  readonly dlogits?: Floats;
}

export interface PolicyUpdateResult extends PolicyLossResult {
  readonly logprobs: Floats;
  readonly lse: Floats;
  readonly entropy?: Floats;
  readonly dlogits: Floats;
}

export interface AdamwArguments {
  /** `[count]` in place */
  readonly params: Floats;
  readonly grads: Floats;
  /** first moment, in place */
  readonly m: Floats;
  /** second moment, in place */
  readonly v: Floats;
  /** 1 for the first step */
  readonly step: number;
  readonly lr: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
  /** multiplies the gradient (clipping by global norm) */
  readonly gradScale: number;
}

export interface SampleArguments {
  /** `[R, V]` */
  readonly logits: Floats;
  /** 0: the most probable token */
  readonly temperature?: number;
  /** 0: none */
  readonly topK?: number;
  /** 1: none */
  readonly topP?: number;
  /** 0: none */
  readonly minP?: number;
  /** an integer in 0 … 2⁵³ − 1 */
  readonly seed: number;
  /** `[R]` which random stream a row draws from */
  readonly streams: Int32Array;
  /** `[R]` which number of the stream */
  readonly positions: Int32Array;
  readonly tokens?: Int32Array;
  readonly logprobs?: Floats;
  /** `[R]` under the renormalised support; `true` allocates it */
  readonly supportLogprobs?: Floats | true;
}

export interface SampleResult {
  /** `[R]` */
  readonly tokens: Int32Array;
  /** `[R]` under the full distribution at this temperature */
  readonly logprobs: Floats;
  readonly supportLogprobs?: Floats;
}

export interface Ops {
  /** `cpu/avx512`, `reference` … */
  readonly name: string;

  /** An array of zeros of the kind that these ops compute with: what a policy keeps its weights and activations in. */
  allocate(length: number): Floats;

  logprobs(args: LogprobsArguments): LogprobsResult;
  /** Gives `dlogits [T, V]`; rows without targets are zero. */
  logprobsBackward(args: LogprobsBackwardArguments): Floats;
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
  readonly policyLoss: {
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
  };
  /** Squared error of a value head, clipped around the old values. */
  valueLoss(args: ValueLossArguments): ValueLossResult;
  readonly policyUpdate: {
    /** `logprobs`, `policyLoss.clip` and `logprobsBackward` in one pass over the logits. */
    clip(args: PolicyUpdateArguments): PolicyUpdateResult;
  };
  /** √Σ grads² */
  gradNorm(args: { readonly grads: Floats }): number;
  adamw(args: AdamwArguments): void;
  sample(args: SampleArguments): SampleResult;

  /** `out [T, H]` (+)= rows of `table [V, H]` */
  embed(args: {
    readonly table: Floats;
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

export interface LinearArguments {
  /** `[T, I]` */
  readonly x: Floats;
  /** `[O, I]` */
  readonly weight: Floats;
  /** `[O]` */
  readonly bias?: Floats;
  /** `[T, O]` */
  readonly y: Floats;
  /** T */
  readonly rows: number;
  /** add to y */
  readonly accumulate?: boolean;
}

export interface LinearBackwardArguments {
  readonly x: Floats;
  readonly weight: Floats;
  /** `[T, O]` */
  readonly dy: Floats;
  readonly rows: number;
  /** `[T, I]` */
  readonly dx?: Floats;
  /** `[O, I]` added to */
  readonly dweight?: Floats;
  /** `[O]` added to */
  readonly dbias?: Floats;
  /** add to dx */
  readonly accumulate?: boolean;
}

export interface RopeArguments {
  /** `[T, heads, D]` */
  readonly x: Floats;
  /** `[T]` */
  readonly depth: Int32Array;
  readonly heads: number;
  /** `[positions, D / 2]` */
  readonly cosines: Floats;
  /** `[positions, D / 2]` */
  readonly sines: Floats;
  /** D */
  readonly headSize: number;
}

export interface AttentionShape {
  readonly heads: number;
  readonly kvHeads: number;
  /** D */
  readonly headSize: number;
  /** multiplies q · k; 1 / √D as a rule */
  readonly scale: number;
}

export interface TreeAttentionArguments extends AttentionShape {
  /** `[T, heads, D]` */
  readonly q: Floats;
  /** `[T, kvHeads, D]` */
  readonly k: Floats;
  readonly v: Floats;
  /** `[T]` i attends to j ⇔ j ≤ i < subtreeEnd[j] */
  readonly subtreeEnd: Int32Array;
  /** `[T, heads, D]` */
  readonly out: Floats;
  /** `[T, heads]` */
  readonly lse: Floats;
}

export interface TreeAttentionBackwardArguments extends TreeAttentionArguments {
  readonly dout: Floats;
  readonly dq: Floats;
  readonly dk: Floats;
  readonly dv: Floats;
}

export interface DecodeAttentionArguments extends AttentionShape {
  /** `[R, heads, D]` */
  readonly q: Floats;
  /** `[slots, kvHeads, D]` */
  readonly keys: Floats;
  readonly values: Floats;
  /** `[R + 1]` */
  readonly slotOffsets: Int32Array;
  /** `[K]` the slots that every row sees, in order, one list after the other */
  readonly slots: Int32Array;
  /** `[R, heads, D]` */
  readonly out: Floats;
}
