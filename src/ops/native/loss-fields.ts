/** Fields that all forms of the policy loss share, and the metrics that they sum. */

import type { Check } from "../check.ts";
import type { Floats, KlEstimator, KlOptions, LossSettings, LossTargets, PolicyLossMetrics } from "../ops.ts";

const klKinds = { k1: 1, k2: 2, k3: 3, abs: 4, "k1+": 5, "k3+": 6 } satisfies Record<KlEstimator, number>;

/** What the kernels sum, in the order of ScLossMetric. */
export function newMetricSums(): Float64Array {
  return new Float64Array(12);
}

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

function settingFields(check: Check, settings: LossSettings): Record<string, number> {
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

/** `[N, 2]`, or `[N]` of any sign. */
function advantageFields(check: Check, advantages: Floats, N: number) {
  const advantageColumns = advantages?.length === N && N > 0 ? 1 : 2;
  const shape = advantageColumns === 1 ? "[N]" : "[N, 2]";
  return { advantageColumns, advantages: check.floats("advantages", shape, advantages, advantageColumns * N) };
}

export function lossTargetFields(check: Check, args: LossSettings & LossTargets, N: number): Record<string, unknown> {
  if (args.kl !== undefined && args.refLogprobs === undefined) check.fail("refLogprobs [N] with kl", "none");
  return {
    N,
    ...settingFields(check, args),
    oldLogprobs: check.floats("oldLogprobs", "[N]", args.oldLogprobs, N),
    refLogprobs: check.optionalFloats("refLogprobs", "[N]", args.refLogprobs, N),
    ...advantageFields(check, args.advantages, N),
    weights: check.floats("weights", "[N]", args.weights, N),
    multipliers: check.optionalFloats("multipliers", "[N]", args.multipliers, N),
    ratios: check.optionalFloats("ratios", "[N]", args.ratios, N),
  };
}
