/**
 * Vectors of the clipped policy loss. The op computes the surrogate, its gradient and its metrics; aggregation and corrections
 * are weights and multipliers per target, and the terms that peers normalise apart are further calls: a KL with weights of its
 * own, an entropy bonus, which is linear.
 */
import type { Floats, KlOptions, Ops, PolicyLossArguments, PolicyLossMetrics, PolicyLossResult } from "../ops/ops.ts";
import { sequenceMeanTokenMean, tokenMean } from "../normaliser.ts";
import { normaliserOf } from "./aggregation.ts";
import { klOptions } from "./kl.ts";
import { everyPosition, gather, layoutOf, spread, type Layout } from "./layout.ts";
import { correctionsOf } from "./policy-loss-corrections.ts";
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
  ...["clip_frac_aggregation", "peer_loss_type"],
]);

/** One vector, laid out for one backend. */
interface Loss {
  readonly vector: GoldenVector;
  readonly ops: Ops;
  readonly precision: Precision;
  readonly layout: Layout;
  readonly args: PolicyLossArguments;
  readonly entropyMask: Float64Array;
  readonly perSequenceRatio: boolean;
}

/** A part of the objective: its value, and its gradient by position. */
interface Term {
  readonly loss: number;
  readonly gradient: Float64Array;
}

export function computePolicyLoss(vector: GoldenVector, ops: Ops, precision: Precision): Computed {
  const { options } = vector;
  if (options["surrogate"] !== "ppo_clip") throw new UnsupportedVector(`policy_loss/${String(options["surrogate"])}`);
  for (const [name, value] of Object.entries(options)) {
    if (!kOptions.has(name) && value !== null && value !== false && value !== 0) {
      throw new UnsupportedVector(`policy_loss/option ${name}`);
    }
  }
  const loss = layOut(vector, ops, precision);
  const result = clip(loss, loss.args, loss.layout.sequenceOffsets);
  const kl = separateKl(loss);
  const bonus = entropyBonus(loss);
  const terms = [
    { loss: result.metrics.loss, gradient: spread(loss.layout, result.dlogprobs) },
    ...(kl ? [kl.term] : []),
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
  const args = {
    logprobs: targets("logp"),
    oldLogprobs: targets(fromRollout ? "rollout_logp" : "old_logp"),
    advantages: targets("advantages"),
    weights: floats(precision, normaliserOf(options["aggregation"], options, layout).weights),
    multipliers: floats(precision, multipliers),
    epsLow: requiredNumber(options, "eps_low"),
    epsHigh: requiredNumber(options, "eps_high"),
    dlogprobs: floats(precision, multipliers),
    ...present("delta", optionalNumber(options, "delta")),
    ...present("dualClip", optionalNumber(options, "dual_clip")),
    ...present("logRatioClamp", optionalNumber(options, "log_ratio_clamp")),
    ...(kl === undefined ? {} : { kl, refLogprobs: targets("ref_logp") }),
  };
  const level = options["ratio_level"];
  if (level !== "token" && level !== "sequence")
    throw new UnsupportedVector(`policy_loss/ratio_level ${String(level)}`);
  return { vector, ops, precision, layout, args, entropyMask, perSequenceRatio: level === "sequence" };
}

function clip(loss: Loss, args: PolicyLossArguments, sequenceOffsets: Int32Array): PolicyLossResult {
  const { policyLoss } = loss.ops;
  return loss.perSequenceRatio ? policyLoss.sequenceClip({ ...args, sequenceOffsets }) : policyLoss.clip(args);
}

/** The KL penalty that shares the weights of the surrogate. */
function klInLoss(vector: GoldenVector): PolicyLossArguments["kl"] {
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
    options["clip_frac_aggregation"] === "seq_mean_token_mean" || (peer === "trl" && loss.perSequenceRatio);
  const shares: ClipShares = overSequences ? meanOverSequences(loss) : metrics;
  return {
    clip_frac: shares.clipFraction,
    clip_frac_low: shares.clipFractionLow,
    clip_frac_high: shares.clipFractionHigh,
    clip_frac_dual: shares.clipFractionDual,
  };
}

function meanOverSequences(loss: Loss): ClipShares {
  const { layout, args, vector } = loss;
  const { sequenceOffsets } = layout;
  const mean = { clipFraction: 0, clipFractionLow: 0, clipFractionHigh: 0, clipFractionDual: 0 };
  const emptySequences = vector.options["empty_sequences"] === "excluded" ? "excluded" : "counted";
  const { denominators } = sequenceMeanTokenMean(sequenceOffsets, { emptySequences });
  for (let b = 0; b < layout.sequences; b++) {
    const length = sequenceOffsets[b + 1] - sequenceOffsets[b];
    const { metrics } = clip(loss, sliced(args, sequenceOffsets[b], sequenceOffsets[b + 1]), Int32Array.of(0, length));
    for (const name of Object.keys(mean) as (keyof ClipShares)[])
      mean[name] += (metrics[name] * length) / denominators[b];
  }
  return mean;
}

function sliced(args: PolicyLossArguments, start: number, end: number): PolicyLossArguments {
  const slices = Object.entries(args).map(([name, value]: [string, unknown]) => [
    name,
    value instanceof Float32Array || value instanceof Float64Array ? value.slice(start, end) : value,
  ]);
  return Object.fromEntries(slices) as PolicyLossArguments;
}

function otherMetrics(
  loss: Loss,
  metrics: PolicyLossMetrics,
  separateKlMean: number | undefined,
): Record<string, number> {
  const { vector, layout, precision, args } = loss;
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
    ...present("kl", separateKlMean ?? (args.kl === undefined ? undefined : metrics.kl)),
    ...("entropy" in inputs ? { entropy: dot(overTargets, gather(layout, inputs["entropy"], "entropy")) } : {}),
    ...("rollout_logp" in inputs ? { rollout_kl: k1(input("rollout_logp"), input("old_logp")) } : {}),
  };
}

function dot(weights: Float64Array, values: Floats): number {
  return weights.reduce((sum, weight, n) => sum + weight * values[n], 0);
}

function present<Name extends string>(name: Name, value: number | undefined): Partial<Record<Name, number>> {
  return (value === undefined ? {} : { [name]: value }) as Partial<Record<Name, number>>;
}
