import { describe, expect, it } from "vitest";
import type { KlEstimator, PolicyLossArguments } from "../../src/ops/ops.ts";
import { reference } from "../../src/ops/reference.ts";
import { randomArrays } from "../support/arrays.ts";
import { clipVariants, klEstimators, lossArguments } from "../support/cases/loss.ts";
import { dot, expectGradient } from "../support/differences.ts";

const ops = reference();

/** One target of weight 1 with the given ratio and advantage pair. */
function target(
  ratio: number,
  pair: readonly number[],
  options: Partial<PolicyLossArguments> = {},
): PolicyLossArguments {
  return {
    logprobs: Float64Array.of(Math.log(ratio) - 1),
    oldLogprobs: Float64Array.of(-1),
    advantages: Float64Array.from(pair),
    weights: Float64Array.of(1),
    epsLow: 0.25,
    epsHigh: 0.5,
    ...options,
  };
}

function lossAndSlope(args: PolicyLossArguments): readonly [number, number] {
  const { metrics, dlogprobs } = ops.policyLoss.clip(args);
  return [metrics.loss, dlogprobs[0]];
}

function expectLoss(args: PolicyLossArguments, loss: number, slope: number): void {
  const got = lossAndSlope(args);
  expect(got[0]).toBeCloseTo(loss, 13);
  expect(got[1]).toBeCloseTo(slope, 13);
}

describe("policyLoss.clip", () => {
  it("takes −A · ratio inside the bounds, and its slope is the same number", () => {
    expectLoss(target(1.25, [2, 0]), -2.5, -2.5);
    expectLoss(target(0.875, [0, -2]), 1.75, 1.75);
  });

  it("stops pushing up above 1 + epsHigh and down below 1 − epsLow", () => {
    expectLoss(target(3, [2, 0]), -3, 0); // −2 · clip(3) = −2 · 1.5
    expectLoss(target(0.25, [0, -2]), 1.5, 0); // 2 · clip(¼) = 2 · 0.75
  });

  it("keeps pulling back a ratio that left on the wrong side", () => {
    expectLoss(target(0.25, [2, 0]), -0.5, -0.5);
    expectLoss(target(3, [0, -2]), 6, 6);
  });

  it("clips the two signs of a shared target apart", () => {
    // ratio 3: A⁺ = 2 is clipped to −3, A⁻ = −1 is not: 3
    expectLoss(target(3, [2, -1]), 0, 3);
  });

  it("gives a single advantage to the column of its sign", () => {
    expectLoss(target(3, [-2]), 6, 6);
    expectLoss(target(3, [2]), -3, 0);
  });

  it("bounds the loss of a negative advantage by the dual clip", () => {
    expectLoss(target(8, [0, -2], { dualClip: 3 }), 6, 0);
    expectLoss(target(2, [0, -2], { dualClip: 3 }), 4, 4);
  });

  it("bounds the ratio by delta", () => {
    expectLoss(target(8, [0, -2], { delta: 4 }), 8, 0);
    expectLoss(target(3, [0, -2], { delta: 4 }), 6, 6);
  });

  it("gives no gradient outside the clamp of the log ratio", () => {
    expectLoss(target(8, [0, -2], { logRatioClamp: Math.LN2 }), 4, 0);
  });

  it("takes the unclipped branch for a ratio exactly on the bound", () => {
    const args = { ...target(1, [1, 0]), epsHigh: 0 };
    const { dlogprobs, metrics } = ops.policyLoss.clip(args);
    expect(dlogprobs[0]).toBe(-1);
    expect(metrics.clipFraction).toBe(0);
  });

  it("multiplies the surrogate, but not the KL, by the multipliers", () => {
    const options = { refLogprobs: Float64Array.of(0), kl: { estimator: "k1", coefficient: 0.5 } } as const;
    // ratio 1, k1 = logprob − ref = −1: −2 · 3 + 0.5 · (−1); slope −6 + 0.5
    expectLoss(target(1, [2, 0], { ...options, multipliers: Float64Array.of(3) }), -6.5, -5.5);
    expectLoss(target(1, [2, 0], { ...options, multipliers: Float64Array.of(0) }), -0.5, 0.5);
  });

  it("multiplies the KL by the ratio and differentiates both", () => {
    const options = {
      refLogprobs: Float64Array.of(0),
      kl: { estimator: "k1", coefficient: 1, timesRatio: true },
    } as const;
    // x = ln 2 − 1 is the log-prob and the k1; 2 x, slope 2 + 2 x; A = 0
    const x = Math.LN2 - 1;
    expectLoss(target(2, [0, 0], options), 2 * x, 2 + 2 * x);
  });

  it("counts and averages over present targets alone", () => {
    const args = {
      logprobs: Float64Array.of(Math.log(2), 0, NaN, Math.log(0.5)),
      oldLogprobs: Float64Array.of(0, 0, Infinity, 0),
      advantages: Float64Array.of(1, 0, 1, 0, NaN, NaN, 0, -1),
      weights: Float64Array.of(0.5, 0.25, 0, 0.25),
      ratios: new Float64Array(4).fill(9),
      epsLow: 0.25,
      epsHigh: 0.5,
    };
    const { metrics, dlogprobs } = ops.policyLoss.clip(args);
    expect(metrics.loss).toBeCloseTo(-1.5 * 0.5 - 0.25 + 0.75 * 0.25, 14);
    expect(metrics.count).toBe(3);
    expect(metrics.clipFraction).toBeCloseTo(2 / 3, 14);
    expect(metrics.clipFractionLow).toBeCloseTo(1 / 3, 14);
    expect(metrics.clipFractionHigh).toBeCloseTo(1 / 3, 14);
    expect(metrics.clipFractionDual).toBe(0);
    expect(metrics.negLogRatio).toBeCloseTo(0, 14);
    expect(metrics.absLogRatio).toBeCloseTo((2 * Math.LN2) / 3, 14);
    expect(metrics.approxKl).toBeCloseTo((1 - Math.LN2 + (-0.5 + Math.LN2)) / 3, 14);
    expect(metrics.ratioMean).toBeCloseTo(3.5 / 3, 14);
    expect(metrics.ratioMax).toBeCloseTo(2, 14);
    [0, -0.25, 0, 0].forEach((d, n) => expect(dlogprobs[n]).toBeCloseTo(d, 14));
    [2, 1, 0, 0.5].forEach((ratio, n) => expect(args.ratios[n]).toBeCloseTo(ratio, 14));
  });

  it("gives metrics of 0 where no target is present", () => {
    const { metrics } = ops.policyLoss.clip(target(1, [1, 0], { weights: Float64Array.of(0) }));
    expect(new Set(Object.values(metrics))).toEqual(new Set([0]));
  });

  it("stays finite at log ratios of ±1e4 where the selected branch is", () => {
    const at = (x: number, pair: readonly number[], options = {}) =>
      lossAndSlope({ ...target(1, pair, options), logprobs: Float64Array.of(x), oldLogprobs: Float64Array.of(0) });
    expect(at(1e4, [1, 0])).toEqual([-1.5, 0]);
    expect(at(-1e4, [0, -1])).toEqual([0.75, 0]);
    expect(at(1e4, [0, -1], { dualClip: 3 })).toEqual([3, 0]);
    expect(at(1e4, [0, -1])[0]).toBe(2 ** 128 - 2 ** 104); // the largest float32
    expect(at(1e4, [0, 0])).toEqual([0, 0]);
  });
});

// The k forms against differences; straight-through forms have another form's slope on purpose.
const differentiable = clipVariants.filter(([name]) => !name.includes("+"));

describe.each(differentiable)("the gradient of the clipped loss, %s", (_name, options) => {
  const exact = (args: PolicyLossArguments) => {
    const logprobs = Float64Array.from(args.logprobs, (x) => (Number.isFinite(x) ? x : -1));
    return { ...args, ...options, logprobs };
  };

  it("is the slope of the loss per token", () => {
    const args = exact(lossArguments(40));
    const { dlogprobs } = ops.policyLoss.clip(args);
    expectGradient(dlogprobs, () => ops.policyLoss.clip(args).metrics.loss, args.logprobs, "dlogprobs");
  });

  it("is the slope of the loss per sequence", () => {
    const args = { ...exact(lossArguments(40)), sequenceOffsets: Int32Array.of(0, 7, 7, 29, 40) };
    const { dlogprobs } = ops.policyLoss.sequenceClip(args);
    expectGradient(dlogprobs, () => ops.policyLoss.sequenceClip(args).metrics.loss, args.logprobs, "dlogprobs");
  });
});

describe("policyLoss.sequenceClip", () => {
  it("gives every target of a sequence the ratio of the mean log ratio over its present targets", () => {
    // log ratios ln 4, absent, 0: the mean of two is ln 2; loss −1 · 2 per target, weights ½: slope −2 · ½ (both) / 2
    const { dlogprobs, metrics } = ops.policyLoss.sequenceClip({
      logprobs: Float64Array.of(Math.log(4), NaN, 0),
      oldLogprobs: Float64Array.of(0, 0, 0),
      advantages: Float64Array.of(1, 0, NaN, NaN, 1, 0),
      weights: Float64Array.of(0.5, 0, 0.5),
      sequenceOffsets: Int32Array.of(0, 3),
      epsLow: 0.5,
      epsHigh: 2,
    });
    expect(metrics.loss).toBeCloseTo(-2, 14);
    [-1, 0, -1].forEach((d, n) => expect(dlogprobs[n]).toBeCloseTo(d, 14));
  });
});

describe("kl", () => {
  const values: Readonly<Record<KlEstimator, readonly [value: number, slope: number]>> = {
    // d = ref − logprob = ln 2
    k1: [-Math.LN2, 1],
    abs: [Math.LN2, -1],
    k2: [Math.LN2 ** 2 / 2, -Math.LN2],
    k3: [1 - Math.LN2, -1],
    "k1+": [-Math.LN2, -Math.LN2],
    "k3+": [1 - Math.LN2, -Math.LN2],
  };

  it.each(klEstimators)("gives the value and the slope of %s", (estimator) => {
    const args = { estimator, logprobs: Float64Array.of(-1), refLogprobs: Float64Array.of(Math.LN2 - 1) };
    const { kl, dlogprobs } = ops.kl({ ...args, dkl: Float64Array.of(3) });
    expect(kl[0]).toBeCloseTo(values[estimator][0], 14);
    expect(dlogprobs[0]).toBeCloseTo(3 * values[estimator][1], 14);
  });

  it("has no gradient where a clamp is active", () => {
    const args = { estimator: "k2", logprobs: Float64Array.of(0, 0), refLogprobs: Float64Array.of(4, 1) } as const;
    const byRatio = ops.kl({ ...args, logRatioClamp: 2 });
    expect([...byRatio.kl, ...byRatio.dlogprobs]).toEqual([2, 0.5, 0, -1]);
    const byValue = ops.kl({ ...args, valueClamp: 3 });
    expect([...byValue.kl, ...byValue.dlogprobs]).toEqual([3, 0.5, 0, -1]);
  });

  it("clamps only the value of a straight-through form", () => {
    const args = { estimator: "k3+", logprobs: Float64Array.of(0), refLogprobs: Float64Array.of(4) } as const;
    const { kl, dlogprobs } = ops.kl({ ...args, valueClamp: 10 });
    expect([kl[0], dlogprobs[0]]).toEqual([10, -4]);
  });
});

describe("scatterAdvantages", () => {
  it("gives every target the credits of its step, and none to a target without one", () => {
    const stepCredits = Float64Array.of(1, -2, 3, -4);
    expect([...ops.scatterAdvantages({ stepCredits, stepOf: Int32Array.of(1, -1, 0) })]).toEqual([3, -4, 0, 0, 1, -2]);
  });

  it("is transposed by its backward", () => {
    const draw = randomArrays(3);
    const stepOf = Int32Array.of(2, 0, -1, 2, 1, 2);
    const [stepCredits, dadvantages] = [draw.normals(8), draw.normals(12)];
    const forward = dot(dadvantages, ops.scatterAdvantages({ stepCredits, stepOf }));
    const backward = dot(stepCredits, ops.scatterAdvantagesBackward({ dadvantages, stepOf, steps: 4 }));
    expect(forward).toBeCloseTo(backward, 13);
  });
});
