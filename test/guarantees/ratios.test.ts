/** What users of such libraries were bitten by, guarantees 22 to 26: ratios, KL penalties, mismatch of rollout and trainer. */
import { describe, expect, it } from "vitest";
import {
  icepop,
  multiply,
  sequenceImportance,
  truncatedImportance,
  unitMean,
  weightMetrics,
} from "../../src/corrections.ts";
import { lengthUnbiasedMean } from "../../src/normaliser.ts";
import { cpuIsas, openOps } from "../../src/ops/native.ts";
import type { KlEstimator, Ops } from "../../src/ops/ops.ts";
import { reference } from "../../src/ops/reference.ts";
import { clipForms, familyArguments, lossForms } from "../support/cases/loss-family.ts";
import { klEstimators } from "../support/cases/loss.ts";

const forms = [...clipForms, ...lossForms];
const backends: readonly (readonly [string, () => Ops])[] = [
  ["reference", () => reference()],
  ...cpuIsas().map((isa) => [isa, () => openOps("cpu", { isa })] as const),
];

describe("22: a KL penalty does not average over what is masked", () => {
  it.each(forms)("policyLoss.$op, $name, by lengths", ({ run }) => {
    const args = familyArguments(20, { kl: { estimator: "k3", coefficient: 0.04 } });
    const { weights } = lengthUnbiasedMean(args.sequenceOffsets);
    const masked = weights.map((weight, n) => (args.weights[n] === 0 || n % 4 === 1 ? 0 : weight));
    const { dlogprobs } = run(reference(), { ...args, weights: masked });
    masked.forEach((weight, n) => {
      if (weight === 0) expect(dlogprobs[n]).toBe(0);
    });
  });
});

describe.each(backends)("23: log ratios up to ±1e4 leave loss and gradients finite, on %s", (_name, open) => {
  const ops = open();
  const distances = [0, 1, 20, 88, 89, 103, 104, 700, 1e4].flatMap((x) => [x, -x]);
  const finite = (values: Iterable<number>) => Array.from(values).every(Number.isFinite);

  it.each(forms)("policyLoss.$op, $name", ({ run }) => {
    const N = 2 * distances.length;
    const x = [...distances, ...distances];
    const args = {
      logprobs: Float32Array.from(x, (d) => Math.min(d, 0) - 0.25),
      oldLogprobs: Float32Array.from(x, (d) => Math.min(-d, 0) - 0.25),
      refLogprobs: Float32Array.from(x, (d) => Math.min(d, 0) - 0.125),
      advantages: Float32Array.from(x, (_, n) => (n < distances.length ? 1 : -1)),
      weights: new Float32Array(N).fill(1 / N),
      multipliers: Float32Array.from(x, (_, n) => n % 3),
      sequenceOffsets: Int32Array.from({ length: N + 1 }, (_, n) => n),
    };
    for (const refLogprobs of [args.refLogprobs, args.oldLogprobs]) {
      for (const estimator of [undefined, ...klEstimators]) {
        for (const timesRatio of [false, true]) {
          const kl = estimator && { kl: { estimator, coefficient: 0.1, timesRatio } };
          const { dlogprobs, metrics } = run(ops, { ...args, refLogprobs, ...kl });
          expect(finite(dlogprobs), `${estimator} ${timesRatio}`).toBe(true);
          expect(finite(Object.values(metrics) as number[]), `${estimator} ${timesRatio}`).toBe(true);
        }
      }
    }
  });

  it.each(klEstimators)("kl %s", (estimator) => {
    const logprobs = Float32Array.from(distances, (d) => Math.min(d, 0));
    const refLogprobs = Float32Array.from(distances, (d) => Math.min(-d, 0));
    const { kl, dlogprobs } = ops.kl({ estimator, logprobs, refLogprobs });
    expect(finite(kl) && finite(dlogprobs)).toBe(true);
  });

  it("a clipped target has gradient exactly 0, however far it is: nothing is multiplied by a mask", () => {
    const { dlogprobs, metrics } = ops.policyLoss.clip({
      logprobs: Float32Array.of(-0.25, -1e4),
      oldLogprobs: Float32Array.of(-1e4, -0.25),
      advantages: Float32Array.of(1, -1),
      weights: Float32Array.of(0.5, 0.5),
      epsLow: 0.2,
      epsHigh: 0.25,
    });
    expect(Array.from(dlogprobs)).toEqual([0, 0]);
    expect(metrics.loss).toBeCloseTo(0.5 * -1.25 + 0.5 * 0.8, 6);
  });
});

describe.each(backends)("24: k1+ and k3+ have the value they name and the gradient of k2, on %s", (_name, open) => {
  const ops = open();
  const logprobs = Float32Array.of(-1, -2, -0.5, -3);
  const refLogprobs = Float32Array.of(-1.5, -1, -0.5, -2.75);
  const of = (estimator: KlEstimator) => ops.kl({ estimator, logprobs, refLogprobs });

  it.each([
    ["k1+", "k1"],
    ["k3+", "k3"],
  ] as const)("%s", (straight, value) => {
    expect(Array.from(of(straight).kl)).toEqual(Array.from(of(value).kl));
    expect(Array.from(of(straight).dlogprobs)).toEqual(Array.from(of("k2").dlogprobs));
    expect(Array.from(of(straight).dlogprobs)).not.toEqual(Array.from(of(value).dlogprobs));
  });

  it("inside a loss too", () => {
    const args = { logprobs, oldLogprobs: logprobs, refLogprobs, advantages: new Float32Array(4), weights: logprobs };
    const loss = (estimator: KlEstimator) => ops.policyLoss.reinforce({ ...args, kl: { estimator, coefficient: 0.5 } });
    expect(Array.from(loss("k3+").dlogprobs)).toEqual(Array.from(loss("k2").dlogprobs));
    expect(loss("k3+").metrics.loss).toBe(loss("k3").metrics.loss);
  });
});

describe("25: weights between rollout engine and trainer", () => {
  const mismatch = {
    oldLogprobs: Float64Array.of(-1e4, -0.1, -1, -2, -3),
    rolloutLogprobs: Float64Array.of(-0.1, -1e4, -1, -2.5, -2.5),
    sequenceOffsets: Int32Array.of(0, 2, 5),
  };

  it("are made of differences of logs and stay finite", () => {
    const truncated = truncatedImportance({ ...mismatch, low: 0, high: 2 });
    expect(truncated.every(Number.isFinite)).toBe(true);
    expect(truncated[1]).toBe(2);
    expect(Array.from(icepop({ ...mismatch, low: 0.5, high: 2 })).slice(0, 3)).toEqual([0, 0, 1]);
    // Factors of e^−9999.9 and e^9999.9 cancel in the log; as a product they would be 0 · ∞.
    expect(sequenceImportance({ ...mismatch, cap: 5 })[0]).toBeCloseTo(1, 9);
    expect(multiply(Float64Array.of(0), Float64Array.of(Infinity))[0]).toBe(0);
  });

  it("report their mean, their largest and their effective sample size", () => {
    const even = weightMetrics(Float64Array.of(2, 2, 2, 2));
    expect(even).toMatchObject({ mean: 2, max: 2, effectiveSampleSize: 1 });
    const uneven = weightMetrics(Float64Array.of(4, 0, 0, 0));
    expect(uneven).toMatchObject({ mean: 1, max: 4, effectiveSampleSize: 0.25 });
    expect(weightMetrics(unitMean(Float64Array.of(1, 2, 3))).mean).toBeCloseTo(1, 14);
  });
});

describe.each(backends)("26: bounds of CISPO are ratios, not offsets, on %s", (_name, open) => {
  const ops = open();
  const args = {
    logprobs: Float32Array.of(-0.5, -2),
    oldLogprobs: Float32Array.of(-2, -0.5),
    advantages: Float32Array.of(1, 1),
    weights: Float32Array.of(1, 1),
  };

  it("bounds the ratio by the number given", () => {
    const { dlogprobs } = ops.policyLoss.cispo({ ...args, ratioMin: 0.5, ratioMax: 4 });
    expect(Array.from(dlogprobs)).toEqual([-4, -0.5]);
  });
});

describe("26: a bound that can only be an offset is refused", () => {
  it.each(cpuIsas())("on %s", (isa) => {
    const ops = openOps("cpu", { isa });
    const one = Float32Array.of(0);
    const args = { logprobs: one, oldLogprobs: one, advantages: one, weights: one };
    expect(() => ops.policyLoss.cispo({ ...args, ratioMax: 0.2 })).toThrow(RangeError);
    expect(() => ops.policyLoss.cispo({ ...args, ratioMin: 5, ratioMax: 6 })).toThrow(RangeError);
    expect(() => ops.policyLoss.cispo({ ...args } as unknown as { ratioMax: number } & typeof args)).toThrow(TypeError);
  });
});
