import { describe, expect, it } from "vitest";
import { cpuIsas, openOps } from "../../src/ops/native.ts";
import type { PolicyLossResult, ReinforceArguments } from "../../src/ops/ops.ts";
import { reference } from "../../src/ops/reference.ts";
import { multiply } from "../../src/corrections.ts";
import { binaryKlMask, totalVariationMask } from "../../src/surrogate-masks.ts";
import { distant, familyArguments, lossForms, sharedVariants, valueArguments } from "../support/cases/loss-family.ts";
import { dot, expectGradient } from "../support/differences.ts";

const ops = reference();

/** Targets of weight 1 with the given probabilities before and now, and advantage pairs. */
function targets(before: readonly number[], now: readonly number[], pairs: readonly number[]) {
  return {
    logprobs: Float64Array.from(now, Math.log),
    oldLogprobs: Float64Array.from(before, Math.log),
    advantages: Float64Array.from(pairs),
    weights: new Float64Array(now.length).fill(1),
  };
}

function expectLoss({ metrics, dlogprobs }: PolicyLossResult, loss: number, slopes: readonly number[]): void {
  expect(metrics.loss).toBeCloseTo(loss, 12);
  slopes.forEach((slope, n) => expect(dlogprobs[n], `dlogprobs[${n}]`).toBeCloseTo(slope, 12));
}

describe("policyLoss.reinforce", () => {
  it("is −A · logprob, whatever the old policy was", () => {
    const args = targets([0.5], [0.25], [3, -1]);
    expectLoss(ops.policyLoss.reinforce(args), 2 * Math.log(4), [-2]);
    expect(ops.policyLoss.reinforce(args).metrics.ratioMean).toBeCloseTo(0.5, 14);
  });
});

describe("policyLoss.cispo", () => {
  it("weights −A · logprob by the bounded ratio and keeps the gradient outside the bounds", () => {
    // ratios 4, ½, 1: weights 2, ¾, 1
    const args = { ...targets([0.125, 0.5, 0.5], [0.5, 0.25, 0.5], [3, 0, 0, -1, 0, 0]), ratioMin: 0.75, ratioMax: 2 };
    const result = ops.policyLoss.cispo(args);
    expectLoss(result, 6 * Math.LN2 - 0.75 * 2 * Math.LN2, [-6, 0.75, 0]);
    expect(result.metrics).toMatchObject({ clipFraction: 2 / 3, clipFractionLow: 1 / 3, clipFractionHigh: 1 / 3 });
  });

  it("is reinforce with the bounded ratios as multipliers", () => {
    const args = familyArguments(40);
    const ratios = new Float32Array(40);
    ops.policyLoss.reinforce({ ...args, ratios });
    const bounded = ratios.map((ratio) => Math.min(Math.max(ratio, 0.75), 1.5));
    const multipliers = multiply(bounded, args.multipliers);
    const composed = ops.policyLoss.reinforce({ ...args, multipliers });
    const { metrics, dlogprobs } = ops.policyLoss.cispo({ ...args, ratioMin: 0.75, ratioMax: 1.5 });
    expect(metrics.loss).toBeCloseTo(composed.metrics.loss, 6);
    dlogprobs.forEach((slope, n) => expect(slope).toBeCloseTo(composed.dlogprobs[n], 6));
  });
});

describe("policyLoss.sapo", () => {
  it("has half of 4 / tau as its value and −A as its slope at ratio 1", () => {
    const args = { ...targets([0.5, 0.5], [0.5, 0.5], [3, 0, 0, -2]), tauPositive: 1, tauNegative: 4 };
    expectLoss(ops.policyLoss.sapo(args), -6 + 1, [-3, 2]);
  });

  it("fades with the distance of the ratio from 1", () => {
    // ratio 2, tau ln 3: σ = ¾; l = −(4 / ln 3) · ¾, slope −4 · ¾ · ¼ · 2
    const args = { ...targets([0.25], [0.5], [1, 0]), tauPositive: Math.log(3), tauNegative: 1 };
    expectLoss(ops.policyLoss.sapo(args), -3 / Math.log(3), [-1.5]);
  });
});

describe("policyLoss.dppoTv", () => {
  const bounds = { epsLow: 0.1, epsHigh: 0.2 };

  it("drops a token that moved too far the way its advantage asks, and no other", () => {
    // moves +¼, +¼, −¼, −¼, with A = +1, −1, +1, −1: the first and the last are dropped
    const pairs = [1, 0, 0, -1, 1, 0, 0, -1];
    const args = targets([0.25, 0.25, 0.5, 0.5], [0.5, 0.5, 0.25, 0.25], pairs);
    const result = ops.policyLoss.dppoTv({ ...args, ...bounds });
    // weights 2 and ½: −2 ln 2 + ½ · 2 ln 2
    expectLoss(result, -2 * Math.LN2 + Math.LN2, [0, 2, -0.5, 0]);
    expect(result.metrics).toMatchObject({ clipFraction: 0.5, clipFractionLow: 0.25, clipFractionHigh: 0.25 });
  });

  it("decides about the two signs of a shared target apart, and caps the ratio", () => {
    const args = targets([0.25], [0.5], [1, -3]);
    const result = ops.policyLoss.dppoTv({ ...args, ...bounds, ratioCap: 1.5 });
    expectLoss(result, -4.5 * Math.LN2, [4.5]);
    expect(result.metrics.clipFractionDual).toBe(1);
  });
});

describe("policyLoss.dppoKl", () => {
  it("measures the move by the divergence of taking the token or not", () => {
    // q = ½, p = ¾: ½ ln ⅔ + ½ ln 2 = ½ ln 4⁄3 = 0.1438
    const args = targets([0.5, 0.5], [0.75, 0.75], [1, 0, 0, -1]);
    const l = -1.5 * Math.log(0.75);
    expectLoss(ops.policyLoss.dppoKl({ ...args, epsLow: 0, epsHigh: 0.143 }), -l, [0, 1.5]);
    expectLoss(ops.policyLoss.dppoKl({ ...args, epsLow: 0, epsHigh: 0.145 }), 0, [-1.5, 1.5]);
  });
});

describe.each([
  ["dppoTv", totalVariationMask, { epsLow: 0.02, epsHigh: 0.04 }],
  ["dppoKl", binaryKlMask, { epsLow: 0.004, epsHigh: 0.01 }],
] as const)("policyLoss.%s", (form, mask, bounds) => {
  it("is cispo without bounds on masked advantages", () => {
    const args = familyArguments(40);
    const kept = mask({ ...args, anchorLogprobs: args.oldLogprobs, ...bounds });
    expect(new Set(kept).size).toBe(2);
    const absentToZero = args.advantages.map((A) => (Number.isFinite(A) ? A : 0));
    const composed = ops.policyLoss.cispo({ ...args, advantages: multiply(absentToZero, kept), ratioMax: Infinity });
    const { metrics, dlogprobs } = ops.policyLoss[form]({ ...args, ...bounds });
    expect(metrics.loss).toBeCloseTo(composed.metrics.loss, 13);
    dlogprobs.forEach((slope, n) => expect(slope).toBeCloseTo(composed.dlogprobs[n], 13));
  });
});

describe("policyLoss.gmpo", () => {
  const bounds = { epsLow: Math.LN2, epsHigh: Math.LN2 };

  it("multiplies the mean advantage by the geometric mean of the bounded ratios", () => {
    // log ratios ln 2 · (2 → 1 by the bound, −2, 1) under A = 3: mean 0; every target carries −3, slopes 3 · (−3) / 3 where free
    const args = targets([0.125, 0.5, 0.25], [0.5, 0.125, 0.5], [3, 0, 3, 0, 3, 0]);
    const result = ops.policyLoss.gmpo({
      ...args,
      epsLow: Math.LN2,
      epsHigh: 1.01 * Math.LN2,
      sequenceOffsets: Int32Array.of(0, 3),
    });
    const mean = 2 ** (0.01 / 3);
    expectLoss(result, -9 * mean, [0, -3 * mean, -3 * mean]);
    expect(result.metrics).toMatchObject({ clipFraction: 1 / 3, clipFractionLow: 0, clipFractionHigh: 2 / 3 });
  });

  it("bounds a negative advantage from below, and leaves a token of advantage 0 at ratio 1", () => {
    // A = −2, −2, 0: y = −ln 2 (bound), 2 ln 2, 0: mean ⅓ ln 2; mean A −4⁄3
    const args = targets([0.5, 0.125, 0.5], [0.125, 0.5, 0.125], [0, -2, 0, -2, 0, 0]);
    const result = ops.policyLoss.gmpo({ ...args, ...bounds, sequenceOffsets: Int32Array.of(0, 3) });
    const l = (4 / 3) * 2 ** (1 / 3);
    expectLoss(result, 3 * l, [0, l, 0]);
  });

  it("adds the two advantages of a target before it looks at the sign", () => {
    const sequenceOffsets = Int32Array.of(0, 1);
    const pair = ops.policyLoss.gmpo({ ...targets([0.25], [0.375], [3, -1]), ...bounds, sequenceOffsets });
    const single = ops.policyLoss.gmpo({ ...targets([0.25], [0.375], [2, 0]), ...bounds, sequenceOffsets });
    expect(pair).toEqual(single);
  });
});

describe("policyLoss.vespo", () => {
  const settings = { kPositive: 2, lambdaPositive: 3, kNegative: 1, lambdaNegative: 0.5 };

  it("weights −A · logprob by φ of the product of the sequence's ratios", () => {
    // ratios 2 and 1: W = 2, φ = e³ 2² e⁻⁶ and e^½ 2 e⁻¹; ratio ½ alone: φ = e^½ ½ e^(−¼)
    const args = targets([0.25, 0.5, 0.5], [0.5, 0.5, 0.25], [1, 0, 0, -1, 0, -1]);
    const [up, down, alone] = [4 * Math.exp(-3), 2 * Math.exp(-0.5), 0.5 * Math.exp(0.25)];
    const result = ops.policyLoss.vespo({ ...args, ...settings, sequenceOffsets: Int32Array.of(0, 2, 3) });
    expectLoss(result, up * Math.LN2 - down * Math.LN2 - alone * 2 * Math.LN2, [-up, down, alone]);
  });

  it("adds the log weights of a correction, and holds single ratios and the product", () => {
    const args = targets([0.125, 0.5], [0.5, 0.5], [1, 0, 1, 0]);
    const sequenceOffsets = Int32Array.of(0, 2);
    const phi = (w: number) => Math.exp(3 + 2 * w - 3 * Math.exp(w));
    const slope = (options: object) =>
      ops.policyLoss.vespo({ ...args, ...settings, sequenceOffsets, ...options }).dlogprobs[1];
    expect(slope({ logWeights: Float64Array.of(-Math.LN2) })).toBeCloseTo(-phi(Math.LN2), 12);
    expect(slope({ tokenLogRatioMax: 0.5 })).toBeCloseTo(-phi(0.5), 12);
    expect(slope({ logWeightMax: 0.25 })).toBeCloseTo(-phi(0.25), 12);
    expect(slope({ logWeights: Float64Array.of(-9), logWeightMin: -1 })).toBeCloseTo(-phi(-1), 12);
  });

  it("is reinforce where the policy has not moved", () => {
    const args = targets([0.5, 0.25], [0.5, 0.25], [3, 0, 0, -2]);
    const result = ops.policyLoss.vespo({ ...args, ...settings, sequenceOffsets: Int32Array.of(0, 2) });
    const plain = ops.policyLoss.reinforce(args);
    expectLoss(result, plain.metrics.loss, Array.from(plain.dlogprobs));
  });

  it("has the slope of −φ A logprob, φ held constant, and of its KL term", () => {
    const args = familyArguments(40, { kl: { estimator: "k3", coefficient: 0.1 } });
    const logprobs = Float64Array.from(args.logprobs);
    const { dlogprobs } = ops.policyLoss.vespo({ ...args, ...settings, logprobs });
    const phi = new Float64Array(40);
    const still = ops.policyLoss.vespo({ ...args, ...settings, kl: { estimator: "k3", coefficient: 0 }, logprobs });
    const unit = ops.policyLoss.reinforce({ ...args, kl: { estimator: "k3", coefficient: 0 }, logprobs });
    unit.dlogprobs.forEach((slope, n) => (phi[n] = slope === 0 ? 1 : still.dlogprobs[n] / slope));
    const multipliers = multiply(phi, args.multipliers);
    const loss = () => ops.policyLoss.reinforce({ ...args, multipliers, logprobs }).metrics.loss;
    const present = Float64Array.from(args.weights, (weight, n) => (weight === 0 ? 0 : logprobs[n]));
    const shifted = () => {
      present.forEach((value, n) => (logprobs[n] = args.weights[n] === 0 ? logprobs[n] : value));
      return loss();
    };
    expectGradient(dlogprobs, shifted, present, "dlogprobs");
  });
});

describe("policyLoss.gspoToken", () => {
  it("has the value of the sequence ratio and the token's own slope", () => {
    // log ratios ln 4, 0: the ratio is 2; A = 1 and −1
    const args = { ...targets([0.125, 0.5], [0.5, 0.5], [1, 0, 0, -1]), sequenceOffsets: Int32Array.of(0, 2) };
    expectLoss(ops.policyLoss.gspoToken({ ...args, epsLow: 0.5, epsHigh: 2 }), 0, [-2, 2]);
  });

  it("stops at the bound of the mean log ratio", () => {
    const args = { ...targets([0.125, 0.5], [0.5, 0.5], [1, 0, 0, -3]), sequenceOffsets: Int32Array.of(0, 2) };
    const most = { sequenceLogRatioMax: Math.log(1.5) };
    expectLoss(ops.policyLoss.gspoToken({ ...args, ...most, epsLow: 0.5, epsHigh: 2 }), 3, [0, 0]);
  });

  it("gives a sequence in all the slope and the loss that one ratio per sequence gives", () => {
    const args = { ...familyArguments(40), epsLow: 0.03, epsHigh: 0.04 };
    const [token, sequence] = [ops.policyLoss.gspoToken(args), ops.policyLoss.sequenceClip(args)];
    expect(token.metrics).toEqual(sequence.metrics);
    for (let b = 0; b + 1 < args.sequenceOffsets.length; b++) {
      const total = ({ dlogprobs }: PolicyLossResult) =>
        Array.from(dlogprobs.subarray(args.sequenceOffsets[b], args.sequenceOffsets[b + 1])).reduce((a, d) => a + d, 0);
      expect(total(token)).toBeCloseTo(total(sequence), 13);
    }
  });
});

// Forms that hold nothing constant: their gradient is the slope of the loss.
const differentiable = lossForms.filter(({ op }) => op === "sapo" || op === "reinforce" || op === "gmpo");

describe.each(differentiable)("the gradient of policyLoss.$op, $name", ({ run }) => {
  it.each(sharedVariants)("is the slope of the loss, %s", (_name, options) => {
    const drawn = familyArguments(40, options);
    const logprobs = Float64Array.from(drawn.logprobs, (x) => (Number.isFinite(x) ? x : -1));
    const args = { ...drawn, logprobs };
    const { dlogprobs } = run(ops, args);
    expect(dot(dlogprobs, dlogprobs)).toBeGreaterThan(0);
    expectGradient(dlogprobs, () => run(ops, args).metrics.loss, logprobs, "dlogprobs");
  });
});

describe("log ratios of ±1e4", () => {
  it.each(["reference", ...cpuIsas()])("leave every number finite on %s", (isa) => {
    const backend = isa === "reference" ? ops : openOps("cpu", { isa });
    const kl: Partial<ReinforceArguments> = { kl: { estimator: "k2", coefficient: 0.1 } };
    for (const { op, name, run } of lossForms) {
      for (const args of [distant(), { ...distant(), ...kl }]) {
        const refLogprobs = args.oldLogprobs;
        const { dlogprobs, metrics } = run(backend, { ...args, refLogprobs });
        expect([...dlogprobs, ...(Object.values(metrics) as number[])].every(Number.isFinite), `${op}, ${name}`).toBe(
          true,
        );
      }
    }
  });
});

describe("valueLoss", () => {
  const one = (value: number, old: number, target: number, clip?: number) => {
    const { dvalues, metrics } = ops.valueLoss({
      values: Float64Array.of(value),
      oldValues: Float64Array.of(old),
      returns: Float64Array.of(target),
      weights: Float64Array.of(2),
      ...(clip === undefined ? {} : { clip }),
    });
    return [metrics.loss, dvalues[0], metrics.clipFraction];
  };

  it("is half the squared error, times the weight", () => {
    expect(one(3, 0, 1)).toEqual([4, 4, 0]);
    expect(one(3, 2.5, 1, 1)).toEqual([4, 4, 0]);
  });

  it("takes the clipped error where it is the larger one, without gradient", () => {
    expect(one(1, 3, 1, 0.5)).toEqual([2.25, 0, 1]); // clamp(1, 2.5, 3.5) − 1 = 1.5
  });

  it("keeps the plain error where the clip would shrink it", () => {
    expect(one(5, 3, 1, 0.5)).toEqual([16, 8, 0]); // clamp(5, 2.5, 3.5) − 1 = 2.5 < 4
  });

  it("has the slope of the loss as its gradient", () => {
    const drawn = valueArguments(40);
    const values = Float64Array.from(drawn.values, (x) => (Number.isFinite(x) ? x : 0));
    const args = { ...drawn, values, clip: 0.2 };
    const { dvalues, metrics } = ops.valueLoss(args);
    expect(metrics.clipFraction).toBeGreaterThan(0);
    expectGradient(dvalues, () => ops.valueLoss(args).metrics.loss, values, "dvalues");
  });
});
