/**
 * Corrections of the surrogate: factors per target that are constant with respect to the policy being updated. They go into
 * the `multipliers [N]` of a loss op, so they scale or drop the surrogate but leave the KL penalty and every denominator as
 * they are. Combine several with `multiply`.
 *
 * Two policies may differ although their parameters agree: the rollout engine (`rolloutLogprobs`) and the trainer before its
 * first step (`oldLogprobs`). Their mismatch is the importance ratio e[n] = exp(oldLogprobs[n] − rolloutLogprobs[n]).
 *
 * B sequences, N targets, arrays `[N]`; `sequenceOffsets [B + 1]` as in the normalisers. Log-probs are in nats. Every function
 * throws a RangeError where lengths or bounds do not fit.
 */
import { sequenceLengths } from "./normaliser.ts";
import type { Floats } from "./ops/ops.ts";

/** The two measurements of the same targets whose mismatch is corrected. */
export interface RolloutMismatch {
  /** `[N]` under the trainer's policy before the update */
  readonly oldLogprobs: Floats;
  /** `[N]` as reported by the engine that sampled */
  readonly rolloutLogprobs: Floats;
  /** the log ratio is clamped to ± this first; default none */
  readonly logRatioClamp?: number;
}

export interface RatioBounds {
  readonly low: number;
  readonly high: number;
}

export interface Sequences {
  /** `[B + 1]` */
  readonly sequenceOffsets: Int32Array;
}

/**
 * Truncated importance sampling: e clamped to [low, high] (low 0 is the usual one-sided cap).
 * Source: Ionides 2008; for rollout engines Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL".
 */
export function truncatedImportance(args: RolloutMismatch & RatioBounds): Float64Array {
  checkBounds("truncatedImportance", args);
  return logRatios("truncatedImportance", args).map((log) => clamp(Math.exp(log), args.low, args.high));
}

/** e where low ≤ e ≤ high, else 0: a mismatched token is dropped, not bounded. Source: IcePop, arXiv:2510.18855. */
export function icepop(args: RolloutMismatch & RatioBounds): Float64Array {
  checkBounds("icepop", args);
  return logRatios("icepop", args).map((log) => (within(Math.exp(log), args) ? Math.exp(log) : 0));
}

/** 1 where low ≤ e ≤ high, else 0: drops single tokens without weighting the others. */
export function tokenMask(args: RolloutMismatch & RatioBounds): Float64Array {
  checkBounds("tokenMask", args);
  return logRatios("tokenMask", args).map((log) => (within(Math.exp(log), args) ? 1 : 0));
}

/** 0 on all of a sequence that holds a token with e outside [low, high], else 1. */
export function outlierSequenceMask(args: RolloutMismatch & RatioBounds & Sequences): Float64Array {
  checkBounds("outlierSequenceMask", args);
  const logs = logRatios("outlierSequenceMask", args);
  return perSequence("outlierSequenceMask", args.sequenceOffsets, logs.length, (start, end) =>
    logs.subarray(start, end).every((log) => within(Math.exp(log), args)) ? 1 : 0,
  );
}

/** 1 on all of a sequence whose geometric mean exp(mean log e) lies in [low, high], else 0. */
export function geometricSequenceMask(args: RolloutMismatch & RatioBounds & Sequences): Float64Array {
  checkBounds("geometricSequenceMask", args);
  const logs = logRatios("geometricSequenceMask", args);
  return perSequence("geometricSequenceMask", args.sequenceOffsets, logs.length, (start, end) =>
    within(Math.exp(sum(logs, start, end) / Math.max(1, end - start)), args) ? 1 : 0,
  );
}

/** e per token on the sequences that `geometricSequenceMask` keeps, 0 on the others. */
export function sequenceMaskedImportance(args: RolloutMismatch & RatioBounds & Sequences): Float64Array {
  const weights = logRatios("sequenceMaskedImportance", args).map(Math.exp);
  return geometricSequenceMask(args).map((keep, n) => (keep === 0 ? 0 : weights[n]));
}

/** The importance ratio of whole sequences. */
export interface SequenceMismatch extends RolloutMismatch, Sequences {
  /** the log of the product is clamped to ± this; default `logRatioClamp` */
  readonly logProductClamp?: number;
}

/** min(Π e, cap) over the whole sequence, the same for all its targets. */
export function sequenceImportance(args: SequenceMismatch & { readonly cap: number }): Float64Array {
  return sequenceProducts("sequenceImportance", args).map((product) => Math.min(product, args.cap));
}

/** Π e over the whole sequence where low ≤ Π e ≤ high, else 0 on all of it. */
export function sequenceIcepop(args: SequenceMismatch & RatioBounds): Float64Array {
  checkBounds("sequenceIcepop", args);
  return sequenceProducts("sequenceIcepop", args).map((product) => (within(product, args) ? product : 0));
}

/**
 * Divides weights by their mean, so that a correction does not change the size of the step: the mean over targets or, with
 * `sequenceOffsets`, over sequences that are not empty (each counts once, with the mean of its targets). Weights whose mean is
 * 0 stay as they are.
 */
export function unitMean(weights: Floats, args: Partial<Sequences> = {}): Float64Array {
  const { sequenceOffsets } = args;
  const values = Float64Array.from(weights);
  const perSequenceMean = (start: number, end: number) => sum(values, start, end) / (end - start);
  const counted =
    sequenceOffsets === undefined ? values : sequenceMeans("unitMean", sequenceOffsets, values.length, perSequenceMean);
  const mean = sum(counted, 0, counted.length) / Math.max(1, counted.length);
  return mean === 0 ? values : values.map((weight) => weight / mean);
}

/** How uneven weights are. */
export interface WeightMetrics {
  readonly mean: number;
  readonly min: number;
  readonly max: number;
  /** (Σ w)² / (N Σ w²): 1 where all weights are equal, 1 / N where one has everything; 0 where there is no weight */
  readonly effectiveSampleSize: number;
}

export function weightMetrics(weights: Floats): WeightMetrics {
  const values = Float64Array.from(weights);
  if (values.length === 0) return { mean: 0, min: 0, max: 0, effectiveSampleSize: 0 };
  const total = sum(values, 0, values.length);
  const squares = values.reduce((squared, weight) => squared + weight * weight, 0);
  return {
    mean: total / values.length,
    min: values.reduce((least, weight) => Math.min(least, weight), Infinity),
    max: values.reduce((most, weight) => Math.max(most, weight), -Infinity),
    effectiveSampleSize: squares === 0 ? 0 : total ** 2 / (values.length * squares),
  };
}

/** Estimators of the divergence of two policies at a target, from the log ratio x: k1 = −x, k2 = x² / 2, k3 = eˣ − 1 − x. */
export type Divergence = "k1" | "k2" | "k3";

export interface RejectionArguments extends RolloutMismatch, Sequences {
  /** decide about single targets, or about whole sequences by the sum, the mean or the largest value of their targets */
  readonly level: "token" | "sequenceSum" | "sequenceMean" | "sequenceMax";
  readonly divergence: Divergence;
  /** k1: the ratios between which it is kept, as importance ratios (> 0); k2 and k3: the largest divergence that is kept */
  readonly high: number;
  /** k1 only; default 1 / high */
  readonly low?: number;
}

/**
 * 1 where the divergence of rollout and training policy is small enough to learn from, else 0: a hard trust region. k1 is kept
 * where ln low ≤ k1 ≤ ln high, k2 and k3 where they are at most `high`. Source: Liu et al. 2025, "When Speed Kills Stability".
 */
export function rejectionMask(args: RejectionArguments): Float64Array {
  const { level, divergence, high, low = 1 / high, sequenceOffsets } = args;
  if (!(high > 0) || (divergence === "k1" && !(low > 0 && low <= high))) {
    throw new RangeError(`rejectionMask: expected 0 < low ≤ high, received low ${low} and high ${high}`);
  }
  const bounds = divergence === "k1" ? { low: Math.log(low), high: Math.log(high) } : { low: -Infinity, high };
  const values = logRatios("rejectionMask", args).map((x) => divergenceOf(divergence, x));
  if (level === "token") return values.map((value) => (within(value, bounds) ? 1 : 0));
  return perSequence("rejectionMask", sequenceOffsets, values.length, (start, end) => {
    const statistic = level === "sequenceMax" ? largest(values, start, end) : sum(values, start, end);
    return within(level === "sequenceMean" ? statistic / Math.max(1, end - start) : statistic, bounds) ? 1 : 0;
  });
}

function divergenceOf(divergence: Divergence, x: number): number {
  switch (divergence) {
    case "k1":
      return -x;
    case "k2":
      return (x * x) / 2;
    case "k3":
      return Math.expm1(x) - x;
    default:
      return divergence satisfies never;
  }
}

/**
 * Drops what has drifted: 0 on targets with a negative advantage in a sequence with mean (rollout − current log-prob) >
 * threshold, else 1. Positive evidence is kept, however stale. Source: DeepSeek-V3.2, arXiv:2512.02556, off-policy sequence
 * masking.
 */
export function offPolicySequenceMask(
  args: Sequences & {
    readonly logprobs: Floats;
    readonly rolloutLogprobs: Floats;
    readonly advantages: Floats;
    readonly threshold: number;
  },
): Float64Array {
  const caller = "offPolicySequenceMask";
  const { logprobs: current, rolloutLogprobs, advantages } = args;
  const drift = logRatios(caller, { oldLogprobs: rolloutLogprobs, rolloutLogprobs: current });
  sameLength(caller, "advantages", advantages, drift.length);
  const drifted = perSequence(caller, args.sequenceOffsets, drift.length, (start, end) =>
    sum(drift, start, end) / Math.max(1, end - start) > args.threshold ? 1 : 0,
  );
  return drifted.map((stale, n) => (stale === 1 && advantages[n] < 0 ? 0 : 1));
}

/**
 * 1 on the share `top` of targets with the largest entropy, else 0: the threshold is the (1 − top) quantile over all
 * targets, interpolated linearly. Source: Wang et al. 2025, arXiv:2506.01939 (forking tokens).
 */
export function highEntropyMask(args: { readonly entropy: Floats; readonly top: number }): Float64Array {
  if (!(args.top >= 0 && args.top <= 1)) {
    throw new RangeError(`highEntropyMask: expected top to be a share in 0 … 1, received ${args.top}`);
  }
  const entropy = Float64Array.from(args.entropy);
  const threshold = quantile(entropy, 1 - args.top);
  return entropy.map((value) => (value >= threshold ? 1 : 0));
}

/** The elementwise product of factors `[N]`; 0 wins over ∞, because a dropped target is absent. */
export function multiply(first: Floats, ...others: readonly Floats[]): Float64Array {
  const product = Float64Array.from(first);
  for (const factors of others) {
    sameLength("multiply", "factors", factors, product.length);
    for (let n = 0; n < product.length; n++)
      product[n] = product[n] === 0 || factors[n] === 0 ? 0 : product[n] * factors[n];
  }
  return product;
}

function logRatios(caller: string, args: RolloutMismatch): Float64Array {
  const { oldLogprobs, rolloutLogprobs, logRatioClamp = Infinity } = args;
  sameLength(caller, "rolloutLogprobs", rolloutLogprobs, oldLogprobs.length);
  return Float64Array.from(oldLogprobs, (logprob, n) =>
    clamp(logprob - rolloutLogprobs[n], -logRatioClamp, logRatioClamp),
  );
}

function sequenceProducts(caller: string, args: SequenceMismatch): Float64Array {
  const logs = logRatios(caller, args);
  const bound = args.logProductClamp ?? args.logRatioClamp ?? Infinity;
  return perSequence(caller, args.sequenceOffsets, logs.length, (start, end) =>
    Math.exp(clamp(sum(logs, start, end), -bound, bound)),
  );
}

/** One number for each sequence that is not empty. */
function sequenceMeans(
  caller: string,
  sequenceOffsets: Int32Array,
  targets: number,
  mean: (start: number, end: number) => number,
): Float64Array {
  const factors = perSequence(caller, sequenceOffsets, targets, mean);
  const starts = sequenceOffsets.filter((start, b) => b + 1 < sequenceOffsets.length && start < sequenceOffsets[b + 1]);
  return Float64Array.from(starts, (start) => factors[start]);
}

function perSequence(
  caller: string,
  sequenceOffsets: Int32Array,
  targets: number,
  factor: (start: number, end: number) => number,
): Float64Array {
  const lengths = sequenceLengths(caller, sequenceOffsets);
  const factors = new Float64Array(targets);
  if (sequenceOffsets[lengths.length] !== targets) {
    throw new RangeError(
      `${caller}: expected sequenceOffsets to end at N = ${targets}, received ${sequenceOffsets[lengths.length]}`,
    );
  }
  for (let b = 0; b < lengths.length; b++) {
    const [start, end] = [sequenceOffsets[b], sequenceOffsets[b + 1]];
    factors.fill(factor(start, end), start, end);
  }
  return factors;
}

function quantile(values: Float64Array, q: number): number {
  if (values.length === 0) return 0;
  const sorted = values.slice().sort();
  const rank = q * (sorted.length - 1);
  const below = Math.floor(rank);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (rank - below);
}

function sum(values: Float64Array, start: number, end: number): number {
  let total = 0;
  for (let n = start; n < end; n++) total += values[n];
  return total;
}

function largest(values: Float64Array, start: number, end: number): number {
  let most = -Infinity;
  for (let n = start; n < end; n++) most = Math.max(most, values[n]);
  return most;
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}

function within(value: number, bounds: RatioBounds): boolean {
  return value >= bounds.low && value <= bounds.high;
}

function checkBounds(caller: string, bounds: RatioBounds): void {
  if (!(bounds.low >= 0 && bounds.high >= bounds.low)) {
    throw new RangeError(`${caller}: expected 0 ≤ low ≤ high, received low ${bounds.low} and high ${bounds.high}`);
  }
}

function sameLength(caller: string, name: string, values: Floats, length: number): void {
  if (values.length !== length) {
    throw new RangeError(`${caller}: expected ${name} [N] of length ${length}, received ${values.length}`);
  }
}
