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

/** min(Π e, cap) over the whole sequence, the same for all its targets; the log of the product is clamped to ± logRatioClamp. */
export function sequenceImportance(args: RolloutMismatch & Sequences & { readonly cap: number }): Float64Array {
  const logs = logRatios("sequenceImportance", args);
  const bound = args.logRatioClamp ?? Infinity;
  return perSequence("sequenceImportance", args.sequenceOffsets, logs.length, (start, end) =>
    Math.min(Math.exp(clamp(sum(logs, start, end), -bound, bound)), args.cap),
  );
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
