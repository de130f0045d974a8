import { describe, expect, it } from "vitest";
import {
  perToken,
  reinforcePlusPlus,
  reinforcePlusPlusBaseline,
  remax,
  tokenRewards,
  whiten,
} from "../../src/advantages/index.ts";

const nan = Number.NaN;

describe("whiten", () => {
  it("subtracts the mean and divides by the deviation, over all tokens", () => {
    // Mean 2, squares 4 + 4, over 1 or 2.
    expect([...whiten([0, 4], { eps: 0 })]).toEqual([-2 / Math.sqrt(8), 2 / Math.sqrt(8)]);
    expect([...whiten([0, 4], { eps: 0, ddof: 0 })]).toEqual([-1, 1]);
    expect([...whiten([0, 4], { eps: 12, ddof: 0 })]).toEqual([-0.5, 0.5]);
    expect([...whiten([0, 4], { eps: 0, ddof: 0, minVariance: 16 })]).toEqual([-0.5, 0.5]);
  });

  it("leaves masked tokens and NaN out and gives them 0", () => {
    expect([...whiten([0, 100, 4, nan], { mask: [1, 0, 1, 1], eps: 0, ddof: 0 })]).toEqual([-1, 0, 1, 0]);
    expect([...whiten([0, nan, 4], { mask: [1, 0, 1], eps: 0, ddof: 0 })]).toEqual([-1, 0, 1]);
  });

  it("gives equal values, a single one and none exactly 0", () => {
    expect([...whiten(new Array<number>(12).fill(0.7), { eps: 0 })]).toEqual(new Array<number>(12).fill(0));
    expect([...whiten([5])]).toEqual([0]);
    expect([...whiten([])]).toEqual([]);
    expect([...whiten([5, 6], { mask: [0, 0] })]).toEqual([0, 0]);
  });

  it("refuses a mask of another length", () => {
    expect(() => whiten([1, 2], { mask: [1] })).toThrow("whiten: expected mask [N] of length 2, received 1");
  });
});

describe("the rewards of tokens", () => {
  const sequenceOffsets = Int32Array.of(0, 3, 3, 5);

  it("hold that of the sequence at its last token that is not masked, and the penalty everywhere", () => {
    const args = { sequenceOffsets, mask: [1, 1, 0, 0, 1], rewards: [1, 7, 2], kl: [0.5, 1, nan, nan, 2], klCoef: 0.5 };
    expect([...tokenRewards(args)]).toEqual([-0.25, 0.5, 0, 0, 1]);
  });

  it("are 0 where a sequence has no token of its own", () => {
    expect([...tokenRewards({ sequenceOffsets, mask: [0, 0, 0, 1, 1], rewards: [1, 7, 2] })]).toEqual([0, 0, 0, 0, 2]);
  });

  it("spread evenly by perToken, leave masked ones 0", () => {
    expect([...perToken({ sequenceOffsets, mask: [1, 1, 0, 1, 1], values: [3, 4, 5] })]).toEqual([3, 3, 0, 5, 5]);
    expect(() => perToken({ sequenceOffsets, values: [3] })).toThrow("expected values [B] of length 3, received 1");
  });
});

describe("reinforcePlusPlus", () => {
  it("whitens returns over the batch", () => {
    // Returns 2, 2 | 6: mean 10 / 3.
    const sequenceOffsets = Int32Array.of(0, 2, 3);
    const { advantages, returns } = reinforcePlusPlus({ sequenceOffsets, rewards: [0, 2, 6] });
    expect([...returns]).toEqual([2, 2, 6]);
    expect(advantages).toEqual(whiten([2, 2, 6]));
    expect(advantages[0]).toBeCloseTo(-(4 / 3) / Math.sqrt(16 / 3), 7);
  });

  it("leaves an unverified sequence out", () => {
    const args = { sequenceOffsets: Int32Array.of(0, 2, 4, 5), rewards: [0, 2, 0, nan, 6] };
    expect([...reinforcePlusPlus(args).advantages]).toEqual([...whiten([2, 2, nan, nan, 6])]);
  });
});

describe("reinforcePlusPlusBaseline", () => {
  it("whitens the distance from the mean of the group, token by token", () => {
    const args = { outcomes: [0, 2, 5], groups: ["a", "a", "b"], sequenceOffsets: Int32Array.of(0, 1, 3, 4) };
    expect(reinforcePlusPlusBaseline(args)).toEqual(whiten([-1, 1, 1, 5]));
    expect(reinforcePlusPlusBaseline({ ...args, singleton: "zero" })).toEqual(whiten([-1, 1, 1, 0]));
    expect(reinforcePlusPlusBaseline({ ...args, mask: [1, 0, 1, 1] })).toEqual(whiten([-1, nan, 1, 5]));
  });

  it("leaves unverified rollouts out of the mean over tokens", () => {
    const sequenceOffsets = Int32Array.of(0, 1, 2, 4);
    expect([...reinforcePlusPlusBaseline({ outcomes: [0, 2, nan], sequenceOffsets })]).toEqual([
      ...whiten([-1, 1]),
      0,
      0,
    ]);
  });
});

describe("remax", () => {
  it("subtracts the baseline of the sequence from the return", () => {
    const args = { sequenceOffsets: Int32Array.of(0, 2, 4), mask: [1, 1, 1, 0], rewards: [1, 2, 4, 9] };
    const { advantages, returns } = remax({ ...args, baselines: [0.5, 1] });
    expect([...returns]).toEqual([3, 2, 4, 0]);
    expect([...advantages]).toEqual([2.5, 1.5, 3, 0]);
    expect([...remax({ ...args, baselines: [nan, 1] }).advantages]).toEqual([0, 0, 3, 0]);
    expect(() => remax({ ...args, baselines: [1] })).toThrow("remax: expected baselines [B] of length 2, received 1");
  });
});
