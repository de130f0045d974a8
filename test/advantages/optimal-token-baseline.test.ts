import { describe, expect, it } from "vitest";
import { optimalTokenBaseline } from "../../src/advantages/index.ts";

const nan = Number.NaN;
// Probabilities ½ and Σ p² = ½ or 1: each token adds 1 − 1 + ½ = ½, or 1, to the squared norm.
const half = Math.log(0.5);
const args = {
  sequenceOffsets: Int32Array.of(0, 2, 3),
  rewards: [0, 4, 1],
  oldLogprobs: [half, half, half],
  sumPiSquared: [0.5, 0.5, 1],
  eps: 0,
};

describe("optimalTokenBaseline", () => {
  it("weighs the returns at a position by the norm gathered until there", () => {
    // Position 0: weights ½ and 1, baseline (4 · ½ + 1 · 1) / 1.5 = 2. Position 1: only the longer sequence, no baseline.
    const { advantages, returns } = optimalTokenBaseline(args);
    expect([...returns]).toEqual([4, 4, 1]);
    [2, 4, -1].forEach((a, n) => expect(advantages[n]).toBeCloseTo(a, 14));
  });

  it("squares importance weights", () => {
    // Weights ½ · 4 and 1: baseline (4 · 2 + 1) / 3 = 3.
    const { advantages } = optimalTokenBaseline({ ...args, importanceWeights: [2, 1, 1] });
    [1, 4, -2].forEach((a, n) => expect(advantages[n]).toBeCloseTo(a, 14));
  });

  it("keeps the tail's own return as its baseline only when asked", () => {
    expect(optimalTokenBaseline({ ...args, zeroTail: false }).advantages[1]).toBeCloseTo(0, 14);
  });

  it("has no tail where two sequences are longest", () => {
    const two = {
      sequenceOffsets: Int32Array.of(0, 2, 4),
      rewards: [0, 4, 0, 1],
      oldLogprobs: [half, half, half, half],
      sumPiSquared: [0.5, 0.5, 0.5, 0.5],
    };
    [1.5, 1.5, -1.5, -1.5].forEach((a, n) => expect(optimalTokenBaseline(two).advantages[n]).toBeCloseTo(a, 7));
  });

  it("gives a group of one its returns", () => {
    expect([...optimalTokenBaseline({ ...args, groups: ["a", "b"] }).advantages]).toEqual([4, 4, 1]);
    const alone = { ...args, groups: ["a", "b"], zeroTail: false };
    expect([...optimalTokenBaseline(alone).advantages]).toEqual([4, 4, 1]);
  });

  it("leaves out unverified sequences and what masked tokens hold", () => {
    const longer = {
      sequenceOffsets: Int32Array.of(0, 3, 4, 6),
      mask: [1, 1, 0, 1, 1, 1],
      rewards: [0, 4, nan, 1, 0, nan],
      oldLogprobs: [half, half, nan, half, half, half],
      sumPiSquared: [0.5, 0.5, nan, 1, 0.5, 0.5],
      eps: 0,
    };
    const { advantages } = optimalTokenBaseline(args);
    expect([...optimalTokenBaseline(longer).advantages]).toEqual([...advantages.slice(0, 2), 0, advantages[2], 0, 0]);
  });
});
