import type {
  ClipSettings,
  Floats,
  KlArguments,
  KlOptions,
  Ops,
  PolicyLossArguments,
  PolicyLossMetrics,
  PolicyLossResult,
  PolicyLossSequenceArguments,
  ScatterAdvantagesArguments,
  ScatterAdvantagesBackwardArguments,
} from "../ops.ts";
import type { Round } from "./arithmetic.ts";
import { clamp, largestFloat, output } from "./arithmetic.ts";

type LossOps = Pick<Ops, "scatterAdvantages" | "scatterAdvantagesBackward" | "kl" | "policyLoss">;

export function lossReference(round: Round): LossOps {
  return {
    scatterAdvantages(args: ScatterAdvantagesArguments): Floats {
      const N = args.stepOf.length;
      const advantages = output(args.advantages, 2 * N);
      for (let n = 0; n < N; n++) {
        const s = args.stepOf[n];
        for (let c = 0; c < 2; c++) advantages[2 * n + c] = s < 0 ? 0 : args.stepCredits[2 * s + c];
      }
      return advantages;
    },

    scatterAdvantagesBackward(args: ScatterAdvantagesBackwardArguments): Floats {
      const sums = new Float64Array(2 * args.steps); // f64 at every precision, by contract
      args.stepOf.forEach((s, n) => {
        if (s < 0) return;
        for (let c = 0; c < 2; c++) sums[2 * s + c] += args.dadvantages[2 * n + c];
      });
      const dstepCredits = output(args.dstepCredits, 2 * args.steps);
      dstepCredits.set(sums.map(round));
      return dstepCredits;
    },

    kl(args: KlArguments) {
      const N = args.logprobs.length;
      const kl = output(args.kl, N);
      const dlogprobs = output(args.dlogprobs, N);
      for (let n = 0; n < N; n++) {
        const estimate = klEstimate(args.logprobs[n], args.refLogprobs[n], args, round);
        kl[n] = estimate.value;
        const dkl = args.dkl?.[n] ?? 1;
        dlogprobs[n] = dkl === 0 ? 0 : round(dkl * estimate.slope);
      }
      return { kl, dlogprobs };
    },

    policyLoss: {
      clip(args: PolicyLossArguments): PolicyLossResult {
        const N = args.logprobs.length;
        const dlogprobs = output(args.dlogprobs, N);
        const sums = new MetricSums();
        for (let n = 0; n < N; n++) {
          dlogprobs[n] = 0;
          if (args.ratios) args.ratios[n] = 0;
          if (args.weights[n] === 0) continue; // absent, whatever the other arrays hold
          const x = logRatio(args, n, round);
          const d = targetGradient(args, n, x.value, sums, round);
          dlogprobs[n] = round((x.clamped ? 0 : d.throughRatio) + d.throughKl);
        }
        return { dlogprobs, metrics: sums.metrics() };
      },

      sequenceClip(args: PolicyLossSequenceArguments): PolicyLossResult {
        const dlogprobs = output(args.dlogprobs, args.logprobs.length);
        const sums = new MetricSums();
        dlogprobs.fill(0);
        args.ratios?.fill(0);
        for (let b = 0; b + 1 < args.sequenceOffsets.length; b++) {
          const present: number[] = [];
          for (let n = args.sequenceOffsets[b]; n < args.sequenceOffsets[b + 1]; n++)
            if (args.weights[n] !== 0) present.push(n);
          const x = present.map((n) => logRatio(args, n, round));
          const mean = round(x.reduce((sum, { value }) => round(sum + value), 0) / present.length);
          const d = present.map((n) => targetGradient(args, n, mean, sums, round));
          const dmean = d.reduce((sum, { throughRatio }) => round(sum + throughRatio), 0);
          present.forEach((n, i) => {
            dlogprobs[n] = round((x[i].clamped ? 0 : round(dmean / present.length)) + d[i].throughKl);
          });
        }
        return { dlogprobs, metrics: sums.metrics() };
      },
    },
  };
}

function logRatio(args: PolicyLossArguments, n: number, round: Round): { value: number; clamped: boolean } {
  const bound = args.logRatioClamp ?? Infinity;
  const x = round(args.logprobs[n] - args.oldLogprobs[n]);
  return { value: clamp(x, -bound, bound), clamped: Math.abs(x) > bound };
}

/** Adds one present target to the metrics; gives ∂loss/∂(log ratio) and what reaches the log-prob through the KL alone. */
function targetGradient(args: PolicyLossArguments, n: number, x: number, sums: MetricSums, round: Round) {
  const ratio = saturate(round(Math.exp(x)));
  if (args.ratios) args.ratios[n] = ratio;
  const multiplier = args.multipliers?.[n] ?? 1;
  const weight = args.weights[n];
  let loss = 0;
  let throughRatio = 0;
  const sides = advantagePair(args, n).map((A) => surrogate(ratio, A, args, round));
  if (multiplier !== 0) {
    loss = times(multiplier, round(sides[0].loss + sides[1].loss), round);
    throughRatio = times(multiplier, round(sides[0].slope + sides[1].slope), round);
  }
  let klTerm = 0;
  let throughKl = 0;
  if (args.kl) {
    const { coefficient, timesRatio } = args.kl;
    const estimate = klEstimate(args.logprobs[n], args.refLogprobs![n], args.kl, round);
    const factor = timesRatio ? ratio : 1;
    klTerm = times(estimate.value, factor, round);
    if (coefficient !== 0) {
      loss = round(loss + times(coefficient, klTerm, round));
      throughKl = times(coefficient, times(estimate.slope, factor, round), round);
      if (timesRatio) throughRatio = round(throughRatio + times(coefficient, klTerm, round));
    }
  }
  sums.add({
    loss: times(weight, loss, round),
    count: 1,
    clipped: sides.some((side) => side.clipped) ? 1 : 0,
    clippedLow: sides.some((side) => side.low) ? 1 : 0,
    clippedHigh: sides.some((side) => side.high) ? 1 : 0,
    clippedDual: sides.some((side) => side.dual) ? 1 : 0,
    negLogRatio: -x,
    absLogRatio: Math.abs(x),
    approxKl: round(round(ratio - 1) - x),
    ratio,
    kl: klTerm,
  });
  return { throughRatio: times(weight, throughRatio, round), throughKl: times(weight, throughKl, round) };
}

/** (A⁺, A⁻) of a target; a single advantage goes to the column of its sign. */
function advantagePair(args: PolicyLossArguments, n: number): readonly number[] {
  const { advantages } = args;
  if (advantages.length === 2 * args.logprobs.length) return [advantages[2 * n], advantages[2 * n + 1]];
  return [Math.max(advantages[n], 0), Math.min(advantages[n], 0)];
}

/** l(A) of one advantage and ∂l/∂(log ratio), by decisions rather than by masks: a branch not taken is not computed with. */
function surrogate(ratio: number, A: number, settings: ClipSettings, round: Round) {
  const low = round(1 - settings.epsLow);
  const high = round(1 + settings.epsHigh);
  const delta = settings.delta ?? Infinity;
  const bounded = Math.min(ratio, delta);
  const inside = clamp(ratio, low, high);
  const flags = { low: bounded < low && A < 0, high: bounded > high && A > 0, clipped: false, dual: false };
  if (A === 0) return { ...flags, loss: 0, slope: 0 };
  const unclippedLoss = times(-A, bounded, round);
  const clippedLoss = times(-A, inside, round);
  const clipped = clippedLoss > unclippedLoss;
  const loss = clipped ? clippedLoss : unclippedLoss;
  const constant = clipped ? ratio < low || ratio > high : ratio > delta;
  const slope = constant ? 0 : times(-A, ratio, round);
  const ceiling = A < 0 && settings.dualClip !== undefined ? round(-settings.dualClip * A) : Infinity;
  if (loss > ceiling) return { ...flags, clipped, dual: true, loss: ceiling, slope: 0 };
  return { ...flags, clipped, loss, slope };
}

/**
 * Value and ∂/∂logprob of an estimator; the gradient is 0 where a clamp is active. The straight-through forms clamp their
 * value alone: their gradient is that of the unclamped k2.
 */
function klEstimate(
  logprob: number,
  refLogprob: number,
  options: KlOptions,
  round: Round,
): { value: number; slope: number } {
  const bound = options.logRatioClamp ?? Infinity;
  const valueBound = options.valueClamp ?? Infinity;
  const free = round(refLogprob - logprob);
  const d = clamp(free, -bound, bound);
  const k3 = () => round(round(round(Math.exp(d)) - d) - 1);
  const estimate = {
    k1: () => ({ value: -d, slope: 1 }),
    abs: () => ({ value: Math.abs(d), slope: -Math.sign(d) }),
    k2: () => ({ value: round(round(d * d) / 2), slope: -d }),
    k3: () => ({ value: k3(), slope: round(1 - round(Math.exp(d))) }),
    "k1+": () => ({ value: -d, slope: -free }),
    "k3+": () => ({ value: k3(), slope: -free }),
  }[options.estimator]();
  const straightThrough = options.estimator === "k1+" || options.estimator === "k3+";
  const clamped = !straightThrough && (Math.abs(free) > bound || Math.abs(estimate.value) > valueBound);
  return { value: clamp(estimate.value, -valueBound, valueBound), slope: clamped ? 0 : estimate.slope };
}

function saturate(x: number): number {
  return clamp(x, -largestFloat, largestFloat);
}

function times(a: number, b: number, round: Round): number {
  return saturate(round(a * b));
}

/** Sums over the present targets, in float64 at every precision, by contract. */
class MetricSums {
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
