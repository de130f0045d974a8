import { describe, expect, it } from "vitest";
import {
  geometricSequenceMask,
  highEntropyMask,
  icepop,
  multiply,
  offPolicySequenceMask,
  outlierSequenceMask,
  rejectionMask,
  sequenceIcepop,
  sequenceImportance,
  sequenceMaskedImportance,
  tokenMask,
  truncatedImportance,
  unitMean,
  weightMetrics,
} from "../src/corrections.ts";

// Two sequences of two targets with importance ratios e = ½, 2 | 4, 1.
const ln2 = Math.LN2;
const mismatch = {
  oldLogprobs: Float64Array.of(-1, -1, -1, -1),
  rolloutLogprobs: Float64Array.of(-1 + ln2, -1 - ln2, -1 - 2 * ln2, -1),
  sequenceOffsets: Int32Array.of(0, 2, 4),
};

function expectFactors(factors: Float64Array, expected: readonly number[]): void {
  expect(factors).toHaveLength(expected.length);
  expected.forEach((factor, n) => expect(factors[n]).toBeCloseTo(factor, 12));
}

describe("corrections of single tokens", () => {
  it("truncation clamps the importance ratio to its bounds", () => {
    expectFactors(truncatedImportance({ ...mismatch, low: 0.8, high: 3 }), [0.8, 2, 3, 1]);
  });

  it("icepop keeps the ratio inside its bounds and drops the token outside", () => {
    expectFactors(icepop({ ...mismatch, low: 0.8, high: 3 }), [0, 2, 0, 1]);
  });

  it("a token mask drops the same tokens but does not weigh the others", () => {
    expectFactors(tokenMask({ ...mismatch, low: 0.8, high: 3 }), [0, 1, 0, 1]);
  });

  it("a clamp of the log ratio bounds the ratio itself", () => {
    expectFactors(truncatedImportance({ ...mismatch, low: 0, high: 100, logRatioClamp: ln2 }), [0.5, 2, 2, 1]);
  });
});

describe("corrections of whole sequences", () => {
  it("one outlier drops its sequence", () => {
    expectFactors(outlierSequenceMask({ ...mismatch, low: 0.4, high: 3 }), [1, 1, 0, 0]);
  });

  it("the geometric mean decides about a sequence: 1 for the first, 2 for the second", () => {
    expectFactors(geometricSequenceMask({ ...mismatch, low: 0.9, high: 1.1 }), [1, 1, 0, 0]);
    expectFactors(sequenceMaskedImportance({ ...mismatch, low: 0.9, high: 1.1 }), [0.5, 2, 0, 0]);
  });

  it("the ratio of a sequence is the product over its tokens, capped", () => {
    expectFactors(sequenceImportance({ ...mismatch, cap: 3 }), [1, 1, 3, 3]);
    expectFactors(sequenceImportance({ ...mismatch, cap: 100, logRatioClamp: ln2 }), [1, 1, 2, 2]);
  });

  it("that product may be clamped without clamping its factors", () => {
    const args = { ...mismatch, sequenceOffsets: Int32Array.of(0, 4), cap: 100 };
    expectFactors(sequenceImportance({ ...args, logProductClamp: ln2 }), [2, 2, 2, 2]);
    expectFactors(sequenceImportance({ ...args, logRatioClamp: ln2, logProductClamp: 2 * ln2 }), [2, 2, 2, 2]);
    expectFactors(sequenceImportance({ ...args, logProductClamp: 3 * ln2 }), [4, 4, 4, 4]);
  });

  it("a product outside its bounds drops the sequence", () => {
    expectFactors(sequenceIcepop({ ...mismatch, low: 0.5, high: 3 }), [1, 1, 0, 0]);
    expectFactors(sequenceIcepop({ ...mismatch, low: 2, high: 5 }), [0, 0, 4, 4]);
  });

  it("an empty sequence changes nothing", () => {
    const sequenceOffsets = Int32Array.of(0, 2, 2, 4);
    expectFactors(geometricSequenceMask({ ...mismatch, sequenceOffsets, low: 0.9, high: 1.1 }), [1, 1, 0, 0]);
  });

  it("the off-policy mask drops negative evidence of a drifted sequence and keeps the positive", () => {
    // Drift, the mean of rollout − current: 0 for the first sequence, 0.3 for the second.
    const args = {
      sequenceOffsets: mismatch.sequenceOffsets,
      logprobs: Float64Array.of(-1, -2, -2, -2),
      rolloutLogprobs: Float64Array.of(-1.5, -1.5, -1.5, -1.9),
      advantages: Float64Array.of(-1, -1, -1, 2),
    };
    expectFactors(offPolicySequenceMask({ ...args, threshold: 0.1 }), [1, 1, 0, 1]);
    expectFactors(offPolicySequenceMask({ ...args, threshold: 0.31 }), [1, 1, 1, 1]);
  });
});

describe("the mask of high entropies", () => {
  it("keeps what reaches the linearly interpolated quantile", () => {
    // The 0.5 quantile of 1, 2, 3, 5 is 2.5.
    expectFactors(highEntropyMask({ entropy: Float64Array.of(3, 1, 5, 2), top: 0.5 }), [1, 0, 1, 0]);
    expectFactors(highEntropyMask({ entropy: Float64Array.of(3, 1, 5, 2), top: 1 }), [1, 1, 1, 1]);
    expectFactors(highEntropyMask({ entropy: new Float64Array(0), top: 0.2 }), []);
  });
});

describe("weights as a whole", () => {
  const weights = Float64Array.of(1, 1, 1, 5);

  it("may be brought to the mean 1, over targets or over sequences that are not empty", () => {
    expectFactors(unitMean(weights), [0.5, 0.5, 0.5, 2.5]);
    // Sequence means 1 and 5.
    const sequenceOffsets = Int32Array.of(0, 3, 3, 4);
    expectFactors(unitMean(weights, { sequenceOffsets }), [1 / 3, 1 / 3, 1 / 3, 5 / 3]);
    expectFactors(unitMean(Float64Array.of(0, 0)), [0, 0]);
    expectFactors(unitMean(new Float64Array(0), { sequenceOffsets: Int32Array.of(0) }), []);
  });

  it("have an effective sample size: 1 where equal, 1 / N where one has everything", () => {
    // (1 + 1 + 1 + 5)² / (4 · (3 + 25)).
    expect(weightMetrics(weights)).toEqual({ mean: 2, min: 1, max: 5, effectiveSampleSize: 64 / 112 });
    expect(weightMetrics(Float64Array.of(3, 3)).effectiveSampleSize).toBe(1);
    expect(weightMetrics(Float64Array.of(3, 0, 0)).effectiveSampleSize).toBeCloseTo(1 / 3, 14);
    expect(weightMetrics(new Float64Array(0))).toEqual({ mean: 0, min: 0, max: 0, effectiveSampleSize: 0 });
  });
});

describe("the rejection mask", () => {
  // Log ratios −ln 2, ln 2 | 2 ln 2, 0.
  it("bounds k1 by importance ratios, on both sides", () => {
    const args = { ...mismatch, divergence: "k1" } as const;
    expectFactors(rejectionMask({ ...args, level: "token", low: 0.4, high: 1.5 }), [0, 1, 0, 1]);
    // k1 is minus the log ratio: 2 ln 2 is as far below as −ln 2 is above.
    expectFactors(rejectionMask({ ...args, level: "token", low: 0.2, high: 1.5 }), [0, 1, 1, 1]);
    expectFactors(rejectionMask({ ...args, level: "token", high: 3 }), [1, 1, 0, 1]);
    expectFactors(rejectionMask({ ...args, level: "sequenceSum", high: 3 }), [1, 1, 0, 0]);
    expectFactors(rejectionMask({ ...args, level: "sequenceMean", high: 3 }), [1, 1, 1, 1]);
    expectFactors(rejectionMask({ ...args, level: "sequenceMax", high: 1.5 }), [0, 0, 1, 1]);
  });

  it("bounds k2 and k3 from above", () => {
    // k2: 0.24, 0.24 | 0.96, 0. k3: ½ − 1 + ln 2 = 0.19, 2 − 1 − ln 2 = 0.31 | 4 − 1 − 2 ln 2 = 1.61, 0.
    const args = { ...mismatch, level: "token" } as const;
    expectFactors(rejectionMask({ ...args, divergence: "k2", high: 0.3 }), [1, 1, 0, 1]);
    expectFactors(rejectionMask({ ...args, divergence: "k3", high: 0.2 }), [1, 0, 0, 1]);
    expectFactors(rejectionMask({ ...args, divergence: "k2", level: "sequenceMean", high: 0.3 }), [1, 1, 0, 0]);
    expectFactors(rejectionMask({ ...args, divergence: "k2", level: "sequenceSum", high: 0.3 }), [0, 0, 0, 0]);
    expectFactors(rejectionMask({ ...args, divergence: "k3", level: "sequenceMax", high: 1 }), [1, 1, 0, 0]);
    expectFactors(rejectionMask({ ...args, divergence: "k3", high: 0.4, logRatioClamp: ln2 }), [1, 1, 1, 1]);
  });
});

describe("several corrections", () => {
  it("multiply, and a dropped target stays dropped whatever the other factors hold", () => {
    expect([...multiply(Float64Array.of(2, 0, 3), Float32Array.of(0.5, Infinity, 0))]).toEqual([1, 0, 0]);
  });

  it("must be as long as each other", () => {
    expect(() => multiply(new Float64Array(3), new Float64Array(2))).toThrow(
      /multiply: expected factors \[N\] of length 3/,
    );
  });
});

describe("wrong arguments", () => {
  it("are refused by name and value", () => {
    expect(() => truncatedImportance({ ...mismatch, low: 2, high: 1 })).toThrow(
      /0 ≤ low ≤ high, received low 2 and high 1/,
    );
    expect(() => icepop({ ...mismatch, rolloutLogprobs: new Float64Array(3), low: 0, high: 1 })).toThrow(
      /icepop: expected rolloutLogprobs \[N\] of length 4, received 3/,
    );
    expect(() => sequenceImportance({ ...mismatch, sequenceOffsets: Int32Array.of(0, 3), cap: 1 })).toThrow(
      /sequenceOffsets to end at N = 4, received 3/,
    );
    expect(() => rejectionMask({ ...mismatch, level: "token", divergence: "k1", low: 2, high: 1.5 })).toThrow(
      /rejectionMask: expected 0 < low ≤ high, received low 2 and high 1.5/,
    );
    expect(() => highEntropyMask({ entropy: new Float64Array(1), top: 20 })).toThrow(/a share in 0 … 1, received 20/);
  });
});
