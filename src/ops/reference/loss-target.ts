/** One target of a policy loss: what all forms of the surrogate share. */

import type { ClipSettings, KlOptions, PolicyLossMetrics, PolicyLossResult, ReinforceArguments } from "../ops.ts";
import type { Round } from "./arithmetic.ts";
import { clamp, largestFloat, output } from "./arithmetic.ts";

/** What was decided about a target, for the metrics. */
export interface Flags {
  readonly clipped: boolean;
  readonly low: boolean;
  readonly high: boolean;
  readonly dual: boolean;
}

export interface Side extends Flags {
  readonly loss: number;
  /** ∂loss/∂(log ratio) */
  readonly throughRatio: number;
  /** ∂loss/∂logprob at a constant ratio */
  readonly direct: number;
}

/** l(A) for one sign of the advantage. */
export type Form = (
  A: number,
  target: { readonly logprob: number; readonly oldLogprob: number; readonly ratio: number },
) => Side;

/** Value and slopes of an advantage of 0. */
export const nothing = { loss: 0, throughRatio: 0, direct: 0 } as const;

/** A loss with one ratio per target. */
export function lossOfTargets(args: ReinforceArguments, form: Form, round: Round): PolicyLossResult {
  const N = args.logprobs.length;
  const dlogprobs = output(args.dlogprobs, N);
  const sums = new MetricSums();
  for (let n = 0; n < N; n++) {
    dlogprobs[n] = 0;
    if (args.ratios) args.ratios[n] = 0;
    if (args.weights[n] === 0) continue; // absent, whatever the other arrays hold
    const x = logRatio(args, n, round);
    const d = targetGradient(args, n, x.value, form, sums, round);
    dlogprobs[n] = round((x.clamped ? 0 : d.throughRatio) + d.direct);
  }
  return { dlogprobs, metrics: sums.metrics() };
}

export function logRatio(args: ReinforceArguments, n: number, round: Round): { value: number; clamped: boolean } {
  const bound = args.logRatioClamp ?? Infinity;
  const x = round(args.logprobs[n] - args.oldLogprobs[n]);
  return { value: clamp(x, -bound, bound), clamped: Math.abs(x) > bound };
}

/** Adds one present target to the metrics; gives ∂loss/∂(log ratio) and what reaches the log-prob not through the ratio. */
export function targetGradient(
  args: ReinforceArguments,
  n: number,
  x: number,
  form: Form,
  sums: MetricSums,
  round: Round,
): { readonly throughRatio: number; readonly direct: number } {
  const ratio = saturate(round(Math.exp(x)));
  if (args.ratios) args.ratios[n] = ratio;
  const target = { logprob: args.logprobs[n], oldLogprob: args.oldLogprobs[n], ratio };
  const sides = advantagePair(args, n).map((A) => form(A, target));
  const surrogate = {
    loss: round(sides[0].loss + sides[1].loss),
    throughRatio: round(sides[0].throughRatio + sides[1].throughRatio),
    direct: round(sides[0].direct + sides[1].direct),
  };
  const either = (flag: "clipped" | "low" | "high" | "dual") => sides.some((side) => side[flag]);
  const flags = { clipped: either("clipped"), low: either("low"), high: either("high"), dual: either("dual") };
  return weighted(args, n, x, ratio, surrogate, flags, sums, round);
}

/** The multiplier, the KL term and the weight of a target, and its metrics. */
export function weighted(
  args: ReinforceArguments,
  n: number,
  x: number,
  ratio: number,
  surrogate: { readonly loss: number; readonly throughRatio: number; readonly direct: number },
  flags: Flags,
  sums: MetricSums,
  round: Round,
): { readonly throughRatio: number; readonly direct: number } {
  const multiplier = args.multipliers?.[n] ?? 1;
  const weight = args.weights[n];
  const scaled = (value: number) => (multiplier === 0 ? 0 : times(multiplier, value, round));
  let loss = scaled(surrogate.loss);
  let throughRatio = scaled(surrogate.throughRatio);
  let direct = scaled(surrogate.direct);
  let klTerm = 0;
  if (args.kl) {
    const { coefficient, timesRatio } = args.kl;
    const estimate = klEstimate(args.logprobs[n], args.refLogprobs![n], args.kl, round);
    const factor = timesRatio ? ratio : 1;
    klTerm = times(estimate.value, factor, round);
    if (coefficient !== 0) {
      loss = round(loss + times(coefficient, klTerm, round));
      direct = round(direct + times(coefficient, times(estimate.slope, factor, round), round));
      if (timesRatio) throughRatio = round(throughRatio + times(coefficient, klTerm, round));
    }
  }
  sums.add({
    loss: weight * loss,
    count: 1,
    clipped: flags.clipped ? 1 : 0,
    clippedLow: flags.low ? 1 : 0,
    clippedHigh: flags.high ? 1 : 0,
    clippedDual: flags.dual ? 1 : 0,
    negLogRatio: -x,
    absLogRatio: Math.abs(x),
    approxKl: saturate(round(round(ratio - 1) - x)),
    ratio,
    kl: klTerm,
  });
  return { throughRatio: times(weight, throughRatio, round), direct: times(weight, direct, round) };
}

/** (A⁺, A⁻) of a target; a single advantage goes to the column of its sign. */
export function advantagePair(args: ReinforceArguments, n: number): readonly number[] {
  const { advantages } = args;
  if (advantages.length === 2 * args.logprobs.length) return [advantages[2 * n], advantages[2 * n + 1]];
  return [Math.max(advantages[n], 0), Math.min(advantages[n], 0)];
}

/** The clipped surrogate, by decisions rather than by masks: a branch not taken is not computed with. */
export function clipForm(settings: ClipSettings, round: Round): Form {
  const low = round(1 - settings.epsLow);
  const high = round(1 + settings.epsHigh);
  const delta = settings.delta ?? Infinity;
  return (A, { ratio }) => {
    const bounded = Math.min(ratio, delta);
    const inside = clamp(ratio, low, high);
    const flags = { low: bounded < low && A < 0, high: bounded > high && A > 0, clipped: false, dual: false };
    if (A === 0) return { ...flags, ...nothing };
    const unclippedLoss = times(-A, bounded, round);
    const clippedLoss = times(-A, inside, round);
    const clipped = clippedLoss > unclippedLoss;
    const loss = clipped ? clippedLoss : unclippedLoss;
    const constant = clipped ? ratio < low || ratio > high : ratio > delta;
    const throughRatio = constant ? 0 : times(-A, ratio, round);
    const ceiling = A < 0 && settings.dualClip !== undefined ? round(-settings.dualClip * A) : Infinity;
    if (loss > ceiling) return { ...flags, clipped, dual: true, loss: ceiling, throughRatio: 0, direct: 0 };
    return { ...flags, clipped, loss, throughRatio, direct: 0 };
  };
}

/**
 * Value and ∂/∂logprob of an estimator; the gradient is 0 where a clamp is active. The straight-through forms clamp their
 * value alone: their gradient is that of the unclamped k2.
 */
export function klEstimate(
  logprob: number,
  refLogprob: number,
  options: KlOptions,
  round: Round,
): { value: number; slope: number } {
  const bound = options.logRatioClamp ?? Infinity;
  const valueBound = options.valueClamp ?? Infinity;
  const free = round(refLogprob - logprob);
  const d = clamp(free, -bound, bound);
  const k3 = () => saturate(round(round(round(Math.exp(d)) - d) - 1));
  const estimate = {
    k1: () => ({ value: -d, slope: 1 }),
    abs: () => ({ value: Math.abs(d), slope: -Math.sign(d) }),
    k2: () => ({ value: round(round(d * d) / 2), slope: -d }),
    k3: () => ({ value: k3(), slope: saturate(round(1 - round(Math.exp(d)))) }),
    "k1+": () => ({ value: -d, slope: -free }),
    "k3+": () => ({ value: k3(), slope: -free }),
  }[options.estimator]();
  const straightThrough = options.estimator === "k1+" || options.estimator === "k3+";
  const clamped = !straightThrough && (Math.abs(free) > bound || Math.abs(estimate.value) > valueBound);
  return { value: clamp(estimate.value, -valueBound, valueBound), slope: clamped ? 0 : estimate.slope };
}

export function saturate(x: number): number {
  return clamp(x, -largestFloat, largestFloat);
}

export function times(a: number, b: number, round: Round): number {
  return saturate(round(a * b));
}

/** Sums over the present targets, in float64 at every precision, by contract. */
export class MetricSums {
  private readonly sums = {
    loss: 0,
    count: 0,
    clipped: 0,
    clippedLow: 0,
    clippedHigh: 0,
    clippedDual: 0,
    negLogRatio: 0,
    absLogRatio: 0,
    approxKl: 0,
    ratio: 0,
    kl: 0,
  };
  private ratioMax = 0;

  add(target: MetricSums["sums"]): void {
    for (const key of Object.keys(this.sums) as (keyof MetricSums["sums"])[]) this.sums[key] += target[key];
    this.ratioMax = Math.max(this.ratioMax, target.ratio);
  }

  metrics(): PolicyLossMetrics {
    const { sums } = this;
    const mean = (sum: number) => (sums.count === 0 ? 0 : sum / sums.count);
    return {
      loss: sums.loss,
      count: sums.count,
      clipFraction: mean(sums.clipped),
      clipFractionLow: mean(sums.clippedLow),
      clipFractionHigh: mean(sums.clippedHigh),
      clipFractionDual: mean(sums.clippedDual),
      negLogRatio: mean(sums.negLogRatio),
      absLogRatio: mean(sums.absLogRatio),
      approxKl: mean(sums.approxKl),
      ratioMean: mean(sums.ratio),
      ratioMax: this.ratioMax,
      kl: mean(sums.kl),
    };
  }
}
