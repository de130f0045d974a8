/** Fields that the forms of the policy loss share, and the metrics that they sum. */

import type { Check } from "../check.ts";
import type {
  ClipSettings,
  DppoArguments,
  Floats,
  KlEstimator,
  KlOptions,
  LossSettings,
  LossTargets,
  PolicyLossInputs,
  PolicyLossMetrics,
  PolicyLossResult,
  ReinforceArguments,
} from "../ops.ts";
import { call, type Call } from "./call.ts";

const klKinds = { k1: 1, k2: 2, k3: 3, abs: 4, "k1+": 5, "k3+": 6 } satisfies Record<KlEstimator, number>;

export const lossMetricCount = 12;

export function lossMetrics(sums: Float64Array): PolicyLossMetrics {
  const count = sums[1];
  const mean = (index: number): number => (count > 0 ? sums[index] / count : 0);
  return {
    loss: sums[0],
    count,
    clipFraction: mean(2),
    clipFractionLow: mean(3),
    clipFractionHigh: mean(4),
    clipFractionDual: mean(5),
    negLogRatio: mean(6),
    absLogRatio: mean(7),
    approxKl: mean(8),
    ratioMean: mean(9),
    ratioMax: sums[10],
    kl: mean(11),
  };
}

export function klFields(
  check: Check,
  options: KlOptions,
): { kind: number; logRatioClamp: number; valueClamp: number } {
  const kind = klKinds[options.estimator];
  if (kind === undefined) {
    check.fail(`estimator to be one of ${Object.keys(klKinds).join(", ")}`, options.estimator);
  }
  return {
    kind,
    logRatioClamp: check.notNegative("logRatioClamp", options.logRatioClamp ?? Infinity),
    valueClamp: check.notNegative("valueClamp", options.valueClamp ?? Infinity),
  };
}

export function settingFields(check: Check, settings: LossSettings): Record<string, number> {
  const kl = settings.kl;
  const fields = kl === undefined ? { kind: 0, logRatioClamp: Infinity, valueClamp: Infinity } : klFields(check, kl);
  return {
    logRatioClamp: check.notNegative("logRatioClamp", settings.logRatioClamp ?? Infinity),
    klKind: fields.kind,
    klTimesRatio: kl?.timesRatio === true ? 1 : 0,
    klCoefficient:
      kl === undefined ? 0 : check.number("kl.coefficient", kl.coefficient, "a finite number", Number.isFinite),
    klLogRatioClamp: fields.logRatioClamp,
    klValueClamp: fields.valueClamp,
  };
}

export function clipFields(check: Check, settings: ClipSettings): Record<string, number> {
  return {
    epsLow: check.number("epsLow", settings.epsLow, "a number in 0 … 1", (x) => x >= 0 && x <= 1),
    epsHigh: check.notNegative("epsHigh", settings.epsHigh),
    delta: check.number("delta", settings.delta ?? Infinity, "a number > 0", (x) => x > 0),
    dualClip: check.number("dualClip", settings.dualClip ?? Infinity, "a number > 1", (x) => x > 1),
  };
}

/** `[N]` of any sign becomes `[N, 2]`: positive ones in the first column, negative ones in the second. */
export function advantagePairs(check: Check, advantages: Floats, N: number): Float32Array {
  if (advantages instanceof Float32Array && advantages.length === N && N > 0) {
    const pairs = new Float32Array(2 * N);
    for (let n = 0; n < N; n++) pairs[2 * n + (advantages[n] < 0 ? 1 : 0)] = advantages[n];
    return pairs;
  }
  return check.floats("advantages", "[N, 2]", advantages, 2 * N);
}

export function lossTargetFields(check: Check, args: LossSettings & LossTargets, N: number): Record<string, unknown> {
  if (args.kl !== undefined && args.refLogprobs === undefined) check.fail("refLogprobs [N] with kl", "none");
  return {
    N,
    ...settingFields(check, args),
    oldLogprobs: check.floats("oldLogprobs", "[N]", args.oldLogprobs, N),
    refLogprobs: check.optionalFloats("refLogprobs", "[N]", args.refLogprobs, N),
    advantages: advantagePairs(check, args.advantages, N),
    weights: check.floats("weights", "[N]", args.weights, N),
    multipliers: check.optionalFloats("multipliers", "[N]", args.multipliers, N),
    ratios: check.optionalFloats("ratios", "[N]", args.ratios, N),
  };
}

export function lossFields(check: Check, args: PolicyLossInputs, N: number): Record<string, unknown> {
  return { ...clipFields(check, args), ...lossTargetFields(check, args, N) };
}

/** The call of one form of the loss, with the fields that it has besides the shared ones. */
export function runLoss(
  kernel: string,
  check: Check,
  args: ReinforceArguments,
  fieldsOf: (N: number) => Record<string, unknown>,
): Call<PolicyLossResult> {
  const logprobs = check.floats("logprobs", "[N]", args.logprobs);
  const N = logprobs.length;
  const fields = fieldsOf(N);
  const dlogprobs = check.output("dlogprobs", "[N]", args.dlogprobs, N);
  const metrics = new Float64Array(lossMetricCount);
  return call(kernel, { ...lossTargetFields(check, args, N), ...fields, logprobs, dlogprobs, metrics }, () => ({
    dlogprobs,
    metrics: lossMetrics(metrics),
  }));
}

export function sequenceFields(
  check: Check,
  args: { readonly sequenceOffsets: Int32Array },
  N: number,
): { readonly B: number; readonly sequenceOffsets: Int32Array } {
  const sequenceOffsets = check.offsets("sequenceOffsets", "[B + 1]", args.sequenceOffsets, N);
  return { B: sequenceOffsets.length - 1, sequenceOffsets };
}

export function dppoFields(check: Check, args: DppoArguments): Record<string, number> {
  return {
    epsLow: check.notNegative("epsLow", args.epsLow),
    epsHigh: check.notNegative("epsHigh", args.epsHigh),
    ratioCap: check.number("ratioCap", args.ratioCap ?? Infinity, "a number > 0", (x) => x > 0),
  };
}
