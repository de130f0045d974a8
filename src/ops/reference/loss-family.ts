/** The forms of the policy loss besides the clipped one, and the loss of a value head. */

import type {
  CispoArguments,
  DppoArguments,
  GmpoArguments,
  GspoTokenArguments,
  Ops,
  PolicyLossResult,
  ReinforceArguments,
  SapoArguments,
  ValueLossArguments,
  ValueLossResult,
  VespoArguments,
} from "../ops.ts";
import type { Round } from "./arithmetic.ts";
import { clamp, output } from "./arithmetic.ts";
import {
  advantagePair,
  clipForm,
  logRatio,
  lossOfTargets,
  MetricSums,
  nothing,
  saturate,
  targetGradient,
  times,
  weighted,
  type Flags,
  type Form,
} from "./loss-target.ts";

const undecided: Flags = { clipped: false, low: false, high: false, dual: false };

export function lossFamilyReference(round: Round): Omit<Ops["policyLoss"], "clip" | "sequenceClip"> {
  return {
    gspoToken: (args: GspoTokenArguments) => gspoToken(args, round),
    cispo: (args: CispoArguments) => lossOfTargets(args, cispoForm(args, round), round),
    sapo: (args: SapoArguments) => lossOfTargets(args, sapoForm(args, round), round),
    reinforce: (args: ReinforceArguments) =>
      lossOfTargets(args, (A, { logprob }) => ({ ...undecided, ...weightedLogprob(1, A, logprob, round) }), round),
    dppoTv: (args: DppoArguments) => lossOfTargets(args, dppoForm(args, movesTooFar(args, round), round), round),
    dppoKl: (args: DppoArguments) => lossOfTargets(args, dppoForm(args, divergesTooFar(args, round), round), round),
    gmpo: (args: GmpoArguments) => gmpo(args, round),
    vespo: (args: VespoArguments) => vespo(args, round),
  };
}

/** −weight · A · logprob, the weight held constant. */
function weightedLogprob(weight: number, A: number, logprob: number, round: Round) {
  if (A === 0) return nothing;
  const direct = times(-weight, A, round);
  return { loss: times(direct, logprob, round), throughRatio: 0, direct };
}

function cispoForm({ ratioMin = 0, ratioMax }: CispoArguments, round: Round): Form {
  return (A, { ratio, logprob }) => ({
    clipped: ratio < ratioMin || ratio > ratioMax,
    low: ratio < ratioMin && A < 0,
    high: ratio > ratioMax && A > 0,
    dual: false,
    ...weightedLogprob(clamp(ratio, ratioMin, ratioMax), A, logprob, round),
  });
}

function sapoForm({ tauPositive, tauNegative }: SapoArguments, round: Round): Form {
  return (A, { ratio }) => {
    if (A === 0) return { ...undecided, ...nothing };
    const tau = A > 0 ? tauPositive : tauNegative;
    const e = round(Math.exp(-Math.abs(round(tau * round(ratio - 1)))));
    const large = round(1 / round(1 + e));
    const small = round(e / round(1 + e));
    const gate = ratio < 1 ? small : large;
    return {
      ...undecided,
      loss: times(-A, round(round(4 / tau) * gate), round),
      throughRatio: times(times(-4 * A, round(large * small), round), ratio, round),
      direct: 0,
    };
  };
}

type Drops = (A: number, logprob: number, oldLogprob: number) => boolean;

function dppoForm({ ratioCap = Infinity }: DppoArguments, drops: Drops, round: Round): Form {
  return (A, { ratio, logprob, oldLogprob }) => {
    if (A === 0) return { ...undecided, ...nothing };
    if (drops(A, logprob, oldLogprob)) return { clipped: true, low: A < 0, high: A > 0, dual: false, ...nothing };
    return {
      ...undecided,
      dual: ratio > ratioCap,
      ...weightedLogprob(Math.min(ratio, ratioCap), A, logprob, round),
    };
  };
}

function movesTooFar({ epsLow, epsHigh }: DppoArguments, round: Round): Drops {
  return (A, logprob, oldLogprob) => {
    const moved = round(round(Math.exp(logprob)) - round(Math.exp(oldLogprob)));
    return A > 0 ? moved > epsHigh : moved < -epsLow;
  };
}

function divergesTooFar({ epsLow, epsHigh }: DppoArguments, round: Round): Drops {
  return (A, logprob, oldLogprob) => {
    const [p, q] = [round(Math.exp(logprob)), round(Math.exp(oldLogprob))];
    const [restP, restQ] = [round(-Math.expm1(logprob)), round(-Math.expm1(oldLogprob))];
    const taken = q === 0 ? 0 : round(q * round(oldLogprob - logprob));
    const others = round(restQ * round(Math.log(round(round(restQ + 1e-8) / round(restP + 1e-8)))));
    const kl = round(taken + others);
    return A > 0 ? p > q && kl > epsHigh : p < q && kl > epsLow;
  };
}

function presentTargets(args: ReinforceArguments, sequenceOffsets: Int32Array): number[][] {
  return Array.from({ length: sequenceOffsets.length - 1 }, (_, b) => {
    const present: number[] = [];
    for (let n = sequenceOffsets[b]; n < sequenceOffsets[b + 1]; n++) if (args.weights[n] !== 0) present.push(n);
    return present;
  });
}

function gspoToken(args: GspoTokenArguments, round: Round): PolicyLossResult {
  const dlogprobs = output(args.dlogprobs, args.logprobs.length);
  const sums = new MetricSums();
  const most = args.sequenceLogRatioMax ?? Infinity;
  dlogprobs.fill(0);
  args.ratios?.fill(0);
  for (const present of presentTargets(args, args.sequenceOffsets)) {
    const x = present.map((n) => logRatio(args, n, round));
    const mean = round(x.reduce((sum, { value }) => round(sum + value), 0) / present.length);
    present.forEach((n, i) => {
      const d = targetGradient(args, n, Math.min(mean, most), clipForm(args, round), sums, round);
      dlogprobs[n] = round((x[i].clamped || mean > most ? 0 : d.throughRatio) + d.direct);
    });
  }
  return { dlogprobs, metrics: sums.metrics() };
}

function gmpo(args: GmpoArguments, round: Round): PolicyLossResult {
  const { epsLow, epsHigh } = args;
  const dlogprobs = output(args.dlogprobs, args.logprobs.length);
  const sums = new MetricSums();
  dlogprobs.fill(0);
  args.ratios?.fill(0);
  for (const present of presentTargets(args, args.sequenceOffsets)) {
    const targets = present.map((n) => {
      const [positive, negative] = advantagePair(args, n);
      const A = round(positive + negative);
      const x = logRatio(args, n, round);
      const y = A > 0 ? Math.min(x.value, epsHigh) : A < 0 ? Math.max(x.value, -epsLow) : 0;
      return { n, A, x, y, free: A !== 0 && y === x.value };
    });
    const mean = (sum: number) => round(sum / present.length);
    const meanA = mean(targets.reduce((sum, { A }) => round(sum + A), 0));
    const geometric = saturate(round(Math.exp(mean(targets.reduce((sum, { y }) => round(sum + y), 0)))));
    const loss = times(-meanA, geometric, round);
    let carried = 0;
    const direct = targets.map(({ n, A, x, free }) => {
      const ratio = saturate(round(Math.exp(x.value)));
      if (args.ratios) args.ratios[n] = ratio;
      const outside = x.value < -epsLow || x.value > epsHigh;
      const flags = { clipped: A !== 0 && !free, low: outside && A < 0, high: outside && A > 0, dual: false };
      const d = weighted(args, n, x.value, ratio, { loss, throughRatio: 0, direct: 0 }, flags, sums, round);
      const multiplier = args.multipliers?.[n] ?? 1;
      if (multiplier !== 0) carried = round(carried + round(args.weights[n] * multiplier));
      return round(d.direct + (x.clamped ? 0 : d.throughRatio));
    });
    const slope = mean(times(carried, loss, round));
    targets.forEach(({ n, x, free }, i) => {
      dlogprobs[n] = round(direct[i] + (free && !x.clamped ? slope : 0));
    });
  }
  return { dlogprobs, metrics: sums.metrics() };
}

function vespo(args: VespoArguments, round: Round): PolicyLossResult {
  const { tokenLogRatioMax = 20, logWeightMin = Math.log(1e-8), logWeightMax = 20 } = args;
  const phiOf = (k: number, lambda: number, w: number) => {
    const exponent = round(round(lambda + round(k * w)) - round(lambda * round(Math.exp(w))));
    return saturate(round(Math.exp(exponent)));
  };
  const dlogprobs = output(args.dlogprobs, args.logprobs.length);
  const sums = new MetricSums();
  dlogprobs.fill(0);
  args.ratios?.fill(0);
  presentTargets(args, args.sequenceOffsets).forEach((present, b) => {
    const x = present.map((n) => logRatio(args, n, round));
    const held = x.map(({ value }) => clamp(value, -tokenLogRatioMax, tokenLogRatioMax));
    const sum = held.reduce((total, value) => round(total + value), 0);
    const w = clamp(round(sum + (args.logWeights?.[b] ?? 0)), logWeightMin, logWeightMax);
    const positive = phiOf(args.kPositive, args.lambdaPositive, w);
    const negative = phiOf(args.kNegative, args.lambdaNegative, w);
    const form: Form = (A, { logprob }) => ({
      ...undecided,
      ...weightedLogprob(A > 0 ? positive : negative, A, logprob, round),
    });
    present.forEach((n, i) => {
      const d = targetGradient(args, n, x[i].value, form, sums, round);
      dlogprobs[n] = round((x[i].clamped ? 0 : d.throughRatio) + d.direct);
    });
  });
  return { dlogprobs, metrics: sums.metrics() };
}

export function valueLossReference(round: Round): Pick<Ops, "valueLoss"> {
  return {
    valueLoss(args: ValueLossArguments): ValueLossResult {
      const N = args.values.length;
      const dvalues = output(args.dvalues, N);
      const sums = { loss: 0, count: 0, clipped: 0 }; // f64 at every precision, by contract
      for (let n = 0; n < N; n++) {
        dvalues[n] = 0;
        if (args.weights[n] === 0) continue; // absent, whatever the other arrays hold
        const error = round(args.values[n] - args.returns[n]);
        const held = args.oldValues === undefined ? error : clippedError(args, n, args.oldValues[n], round);
        const clipped = Math.abs(held) > Math.abs(error);
        const larger = clipped ? held : error;
        sums.loss += 0.5 * args.weights[n] * times(larger, larger, round);
        sums.count += 1;
        sums.clipped += clipped ? 1 : 0;
        dvalues[n] = clipped ? 0 : round(args.weights[n] * error);
      }
      const clipFraction = sums.count === 0 ? 0 : sums.clipped / sums.count;
      return { dvalues, metrics: { loss: sums.loss, count: sums.count, clipFraction } };
    },
  };
}

function clippedError(args: ValueLossArguments, n: number, old: number, round: Round): number {
  const bound = args.clip ?? Infinity;
  return round(clamp(args.values[n], round(old - bound), round(old + bound)) - args.returns[n]);
}
