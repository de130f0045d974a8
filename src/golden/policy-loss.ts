/**
 * Vectors of the policy losses. The op computes the surrogate, its gradient and its metrics; aggregation and corrections
 * are weights and multipliers per target, and the terms that peers normalise apart are further calls: a KL with weights of its
 * own, an entropy bonus, which is linear.
 */
import type { Floats, KlOptions, Ops, PolicyLossMetrics, ReinforceArguments } from "../ops/ops.ts";
import { sequenceMeanTokenMean, tokenMean } from "../normaliser.ts";
import { largestCovarianceMask } from "../surrogate-masks.ts";
import { normaliserOf } from "./aggregation.ts";
import { klOptions } from "./kl.ts";
import { everyPosition, gather, layoutOf, spread, type Layout } from "./layout.ts";
import { correctionsOf } from "./policy-loss-corrections.ts";
import { surrogateOf, type Surrogate } from "./policy-loss-surrogates.ts";
import {
  floats,
  optionalNumber,
  requiredNumber,
  rows,
  UnsupportedVector,
  type Computed,
  type GoldenVector,
  type Precision,
} from "./vector.ts";

/** Options that are read here or say nothing about the result; any other that is set makes a vector unsupported. */
const kOptions: ReadonlySet<string> = new Set([
  ...["surrogate", "ratio_level", "eps_low", "eps_high", "delta", "dual_clip", "log_ratio_clamp", "anchor"],
  ...["sequence_ratio_from_rollout", "aggregation", "empty_sequences", "global_tokens", "global_sequences", "dp_size"],
  ...["constant", "loss_divisor", "prompt_boundaries", "microbatch", "kl_coef", "kl_estimator", "kl_times_ratio"],
  ...["kl_aggregation", "entropy_coef", "entropy_quantile", "is_weights_apply", "rollout_correction"],
  ...["off_policy_correction", "off_policy_defaults", "off_policy_mask_threshold"],
  ...["clip_frac_aggregation", "peer_loss_type", "tau_pos", "tau_neg", "ratio_cap", "dro_beta", "mask_low"],
  ...["k_pos", "lambda_pos", "k_neg", "lambda_neg"],
  ...["dppo_mask_low", "dppo_mask_high", "adv_tau", "kl_tau", "ipo_threshold"],
  ...["clip_cov_ratio", "clip_cov_lb", "clip_cov_ub", "kl_cov_ratio", "ppo_kl_coef"],
]);

/** One vector, laid out for one backend. */
interface Loss {
  readonly vector: GoldenVector;
  readonly ops: Ops;
  readonly precision: Precision;
  readonly layout: Layout;
  readonly surrogate: Surrogate;
  readonly entropyMask: Float64Array;
}

/** A part of the objective: its value, and its gradient by position. */
interface Term {
  readonly loss: number;
  readonly gradient: Float64Array;
}

export function computePolicyLoss(vector: GoldenVector, ops: Ops, precision: Precision): Computed {
  const { options } = vector;
  for (const [name, value] of Object.entries(options)) {
    if (!kOptions.has(name) && value !== null && value !== false && value !== 0) {
      throw new UnsupportedVector(`policy_loss/option ${name}`);
    }
  }
  const loss = layOut(vector, ops, precision);
  const result = loss.surrogate.run(loss.surrogate.args, loss.layout.sequenceOffsets);
  const kl = separateKl(loss);
  const bonus = entropyBonus(loss);
  const terms = [
    { loss: result.metrics.loss, gradient: spread(loss.layout, result.dlogprobs) },
    ...(kl ? [kl.term] : []),
    ...(options["surrogate"] === "kl_cov" ? [covariancePenalty(loss)] : []),
  ];
  return {
    values: {
      loss: terms.reduce((sum, term) => sum + term.loss, bonus?.loss ?? 0),
      grad_logp: terms[0].gradient.map((_, position) => terms.reduce((sum, term) => sum + term.gradient[position], 0)),
      ...(bonus === undefined ? {} : { grad_entropy: bonus.gradient }),
    },
    metrics: { ...clipMetrics(loss, result.metrics), ...otherMetrics(loss, result.metrics, kl?.mean) },
  };
}

function layOut(vector: GoldenVector, ops: Ops, precision: Precision): Loss {
  const { inputs, options } = vector;
  const layout = layoutOf(rows(inputs["mask"], "mask"));
  const targets = (name: string) => floats(precision, gather(layout, inputs[name], name));
  const fromRollout = options["anchor"] === "rollout" || options["sequence_ratio_from_rollout"] === true;
  const { multipliers, entropyMask } = correctionsOf(vector, layout);
  const kl = klInLoss(vector);
  const clamp = options["log_ratio_clamp"] === "max10" ? undefined : optionalNumber(options, "log_ratio_clamp");
  const shared = {
    logprobs: targets("logp"),
    oldLogprobs: targets(fromRollout ? "rollout_logp" : "old_logp"),
    advantages: targets("advantages"),
    weights: floats(precision, normaliserOf(options["aggregation"], options, layout).weights),
    multipliers: floats(precision, multipliers),
    dlogprobs: floats(precision, multipliers),
    ...present("logRatioClamp", clamp),
    ...(kl === undefined ? {} : { kl, refLogprobs: targets("ref_logp") }),
  };
  const surrogate = surrogateOf(vector, layout, ops, precision, shared);
  return { vector, ops, precision, layout, surrogate, entropyMask };
}

/** KL-Cov: coefficient · |log ratio| on the targets of the largest covariance, with the weights of the surrogate. */
function covariancePenalty({ vector, ops, precision, layout, surrogate }: Loss): Term {
  const { logprobs, oldLogprobs, advantages, weights } = surrogate.args;
  const share = requiredNumber(vector.options, "kl_cov_ratio");
  const coefficient = requiredNumber(vector.options, "ppo_kl_coef");
  const scaled = largestCovarianceMask({ logprobs, advantages, share }).map((one, n) => coefficient * one * weights[n]);
  const { kl, dlogprobs } = ops.kl({
    estimator: "abs",
    logprobs,
    refLogprobs: oldLogprobs,
    dkl: floats(precision, scaled),
    kl: floats(precision, logprobs),
    dlogprobs: floats(precision, logprobs),
  });
  return { loss: dot(scaled, kl), gradient: spread(layout, dlogprobs) };
}

/** The KL penalty that shares the weights of the surrogate. */
function klInLoss(vector: GoldenVector): ReinforceArguments["kl"] {
  const { options } = vector;
  const coefficient = optionalNumber(options, "kl_coef") ?? 0;
  if (coefficient === 0 || klIsSeparate(vector)) return undefined;
  return { ...klOf(vector), coefficient, timesRatio: options["kl_times_ratio"] === true };
}

function klIsSeparate({ options, tags }: GoldenVector): boolean {
  if (options["aggregation"] !== "luspo") return (options["kl_aggregation"] ?? null) !== null;
  if (!tags.includes("peer_quirk")) throw new UnsupportedVector("policy_loss/luspo with a KL penalty");
  return true;
}

function klOf({ peer, options }: GoldenVector): KlOptions {
  const estimator = options["kl_estimator"];
  const clamped = peer === "verl" && (estimator === "k3" || estimator === "k3+");
  return clamped ? klOptions(estimator, 20, 10) : klOptions(estimator);
}

/** A KL penalty with weights of its own, and its mean over the valid targets. */
function separateKl(loss: Loss): { term: Term; mean: number } | undefined {
  const { vector, layout, precision } = loss;
  const coefficient = optionalNumber(vector.options, "kl_coef") ?? 0;
  if (coefficient === 0 || !klIsSeparate(vector)) return undefined;
  const quirk = vector.options["aggregation"] === "luspo";
  const over = quirk ? everyPosition(layout) : layout;
  const weights = quirk
    ? leakingWeights(layout, over)
    : normaliserOf(vector.options["kl_aggregation"], vector.options, layout).weights;
  const targets = (name: string) => floats(precision, gather(over, vector.inputs[name], name));
  const logprobs = targets("logp");
  const { kl, dlogprobs } = loss.ops.kl({
    ...klOf(vector),
    logprobs,
    refLogprobs: targets("ref_logp"),
    dkl: floats(
      precision,
      weights.map((weight) => coefficient * weight),
    ),
    kl: floats(precision, logprobs),
    dlogprobs: floats(precision, logprobs),
  });
  const valid = quirk ? Float64Array.from(layout.positions, (position) => kl[position]) : kl;
  return {
    term: { loss: coefficient * dot(weights, kl), gradient: spread(over, dlogprobs) },
    mean: dot(tokenMean(layout.sequenceOffsets).weights, valid),
  };
}

/** n_b / (B · T) at every position, masked ones included: the mean of n_b · kl over a padded batch. */
function leakingWeights(layout: Layout, over: Layout): Float64Array {
  const { sequenceOffsets } = layout;
  return Float64Array.from(
    over.sequenceOf,
    (b) => (sequenceOffsets[b + 1] - sequenceOffsets[b]) / over.positions.length,
  );
}

/** −coefficient · Σ m entropy / D over the targets that the entropy mask keeps (m). */
function entropyBonus(loss: Loss): Term | undefined {
  const { vector, layout, entropyMask } = loss;
  const { options } = vector;
  const coefficient = optionalNumber(options, "entropy_coef") ?? 0;
  if (coefficient === 0) return undefined;
  const kept = entropyMask.reduce((sum, keep) => sum + keep, 0);
  const global = options["aggregation"] === "token_mean_global";
  const { denominators } = tokenMean(
    Int32Array.of(0, kept),
    global
      ? { globalTokens: requiredNumber(options, "global_tokens") }
      : { lossDivisor: optionalNumber(options, "loss_divisor") ?? 1 },
  );
  const weights = entropyMask.map((keep) => (-coefficient * keep) / denominators[0]);
  const entropy = gather(layout, vector.inputs["entropy"], "entropy");
  return { loss: dot(weights, entropy), gradient: spread(layout, weights) };
}

type ClipShares = Pick<PolicyLossMetrics, "clipFraction" | "clipFractionLow" | "clipFractionHigh" | "clipFractionDual">;

/** Shares of clipped targets; where the peer takes a mean over sequences, the op runs on every sequence by itself. */
function clipMetrics(loss: Loss, metrics: PolicyLossMetrics): Record<string, number> {
  const { peer, options } = loss.vector;
  const overSequences =
    options["clip_frac_aggregation"] === "seq_mean_token_mean" ||
    (peer === "trl" && options["ratio_level"] === "sequence");
  const shares: ClipShares = overSequences ? meanOverSequences(loss) : metrics;
  const { kept } = loss.surrogate;
  // This form's peers count the clipped ratios of positive advantages alone.
  const clipped = options["surrogate"] === "cispo_upper_abs" ? shares.clipFractionHigh : shares.clipFraction;
  return {
    clip_frac: kept === undefined ? clipped : kept.filter((factor) => factor === 0).length / kept.length,
    clip_frac_low: shares.clipFractionLow,
    clip_frac_high: shares.clipFractionHigh,
    clip_frac_dual: shares.clipFractionDual,
  };
}

function meanOverSequences(loss: Loss): ClipShares {
  const { layout, surrogate, vector } = loss;
  const { sequenceOffsets } = layout;
  const mean = { clipFraction: 0, clipFractionLow: 0, clipFractionHigh: 0, clipFractionDual: 0 };
  const emptySequences = vector.options["empty_sequences"] === "excluded" ? "excluded" : "counted";
  const { denominators } = sequenceMeanTokenMean(sequenceOffsets, { emptySequences });
  for (let b = 0; b < layout.sequences; b++) {
    const length = sequenceOffsets[b + 1] - sequenceOffsets[b];
    const slice = sliced(surrogate.args, sequenceOffsets[b], sequenceOffsets[b + 1]);
    const { metrics } = surrogate.run(slice, Int32Array.of(0, length));
    for (const name of Object.keys(mean) as (keyof ClipShares)[])
      mean[name] += (metrics[name] * length) / denominators[b];
  }
  return mean;
}

function sliced(args: ReinforceArguments, start: number, end: number): ReinforceArguments {
  const slices = Object.entries(args).map(([name, value]: [string, unknown]) => [
    name,
    value instanceof Float32Array || value instanceof Float64Array ? value.slice(start, end) : value,
  ]);
  return Object.fromEntries(slices) as ReinforceArguments;
}

function otherMetrics(
  loss: Loss,
  metrics: PolicyLossMetrics,
  separateKlMean: number | undefined,
): Record<string, number> {
  const { vector, layout, precision } = loss;
  const { args } = loss.surrogate;
  const { inputs } = vector;
  const overTargets = tokenMean(layout.sequenceOffsets).weights;
  const input = (name: string) => floats(precision, gather(layout, inputs[name], name));
  const k1 = (logprobs: Floats, refLogprobs: Floats) =>
    dot(
      overTargets,
      loss.ops.kl({
        estimator: "k1",
        logprobs,
        refLogprobs,
        kl: floats(precision, logprobs),
        dlogprobs: floats(precision, logprobs),
      }).kl,
    );
  return {
    // Means of −log ratio: after its clamp, except for the peer that reports it before.
    approx_kl: vector.peer === "openrlhf" ? k1(input("old_logp"), args.logprobs) : metrics.negLogRatio,
    abs_kl: metrics.absLogRatio,
    ...present("phi_mean", vector.options["surrogate"] === "vespo" ? meanPhi(loss) : undefined),
    ...present("kl", separateKlMean ?? (args.kl === undefined ? undefined : metrics.kl)),
    ...("entropy" in inputs ? { entropy: dot(overTargets, gather(layout, inputs["entropy"], "entropy")) } : {}),
    ...("rollout_logp" in inputs ? { rollout_kl: k1(input("rollout_logp"), input("old_logp")) } : {}),
  };
}

/** The mean of φ over sequences: the slope of an advantage of ±1. Nothing where a sequence is empty, which has no target to ask. */
function meanPhi({ layout, surrogate, precision }: Loss): number | undefined {
  const { sequenceOffsets, sequences } = layout;
  const { kl: _kl, multipliers: _multipliers, ...args } = surrogate.args;
  const { dlogprobs } = surrogate.run(
    {
      ...args,
      advantages: args.advantages.map((A) => (A < 0 ? -1 : 1)),
      weights: args.weights.map(() => 1),
      dlogprobs: floats(precision, args.logprobs),
    },
    sequenceOffsets,
  );
  let sum = 0;
  for (let b = 0; b < sequences; b++) {
    if (sequenceOffsets[b] === sequenceOffsets[b + 1]) return undefined;
    sum += Math.abs(dlogprobs[sequenceOffsets[b]]);
  }
  return sum / sequences;
}

function dot(weights: Float64Array, values: Floats): number {
  return weights.reduce((sum, weight, n) => sum + weight * values[n], 0);
}

function present<Name extends string>(name: Name, value: number | undefined): Partial<Record<Name, number>> {
  return (value === undefined ? {} : { [name]: value }) as Partial<Record<Name, number>>;
}
