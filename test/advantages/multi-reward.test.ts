import { describe, expect, it } from "vitest";
import { decoupledRewards, gdpo, weightedRewards, zeroDeviationFraction } from "../../src/advantages/index.ts";
import { grpo } from "../../src/trajectory/index.ts";

const nan = Number.NaN;

describe("several rewards", () => {
  it("add up by weight, over those that apply", () => {
    expect([...weightedRewards({ rewards: [1, 10, nan, 10, nan, nan], weights: [2, 0.5] })]).toEqual([7, 5, nan]);
  });

  it("are normalised one by one before they add up", () => {
    // Reward 0 is −1, 0, 1 from its mean and 1 its deviation; reward 1 the same times 100, backwards.
    const rewards = [0, 200, 1, 100, 2, 0];
    const decoupled = decoupledRewards({ rewards, weights: [1, 0.5], eps: 0 });
    expect([...decoupled]).toEqual([-0.5, 0, 0.5]);
    expect([...decoupledRewards({ rewards, weights: [1, 0.5], std: false })]).toEqual([49, 0, -49]);
  });

  it("of one scale do not drown those of another, as they do in the sum", () => {
    const rewards = [0, 200, 1, 100, 2, 0];
    const args = { rewards, weights: [1, 0.5] };
    expect(grpo({ outcomes: weightedRewards(args) })[2]).toBeLessThan(0);
    expect(grpo({ outcomes: decoupledRewards(args) })[2]).toBeGreaterThan(0);
  });

  it("where none applies the rollout is unverified, and where one does that one counts", () => {
    const decoupled = decoupledRewards({ rewards: [0, nan, 2, nan, nan, nan], weights: [1, 1], eps: 0 });
    [-Math.SQRT1_2, Math.SQRT1_2].forEach((a, b) => expect(decoupled[b]).toBeCloseTo(a, 14));
    expect(decoupled[2]).toBeNaN();
  });

  it("that are no multiple of their weights are refused", () => {
    expect(() => weightedRewards({ rewards: [1, 2, 3], weights: [1, 1] })).toThrow(
      "weightedRewards: expected rewards [B, K] to be a multiple of K = 2 > 0 long, received 3",
    );
    expect(() => weightedRewards({ rewards: [], weights: [] })).toThrow("K = 0 > 0");
  });
});

describe("gdpo", () => {
  it("whitens the decoupled rewards over tokens, so a long rollout weighs more", () => {
    // Decoupled ±√½ on 1 and 3 tokens: mean √½ / 2, squares √½² · (2.25 + 3 · 0.25) = 1.5, over 3: √½.
    const sequenceOffsets = Int32Array.of(0, 1, 4);
    const advantages = gdpo({ rewards: [0, 1], weights: [1], sequenceOffsets, eps: 0, whiten: { eps: 0 } });
    [-1.5, 0.5, 0.5, 0.5].forEach((a, n) => expect(advantages[n]).toBeCloseTo(a, 14));
  });

  it("gives unverified rollouts and masked tokens 0, and leaves them out of the mean", () => {
    const sequenceOffsets = Int32Array.of(0, 2, 3, 5);
    const masked = gdpo({ rewards: [0, 1, nan], weights: [1], sequenceOffsets, mask: [1, 0, 1, 1, 1] });
    const plain = gdpo({ rewards: [0, 1], weights: [1], sequenceOffsets: Int32Array.of(0, 1, 2) });
    expect([...masked]).toEqual([plain[0], 0, plain[1], 0, 0]);
  });
});

describe("the share of rollouts in groups that do not differ", () => {
  it("counts rollouts, and groups with fewer than two outcomes among them", () => {
    const groups = ["equal", "equal", "mixed", "mixed", "one", "none"];
    expect(zeroDeviationFraction({ outcomes: [0.7, 0.7, 0, 1, 1, nan], groups })).toBe(4 / 6);
    expect(zeroDeviationFraction({ outcomes: [0.7, nan, 0, 1, 1, nan], groups })).toBe(4 / 6);
    expect(zeroDeviationFraction({ outcomes: [0, 1] })).toBe(0);
    expect(zeroDeviationFraction({ outcomes: [0, 1], tolerance: 1 })).toBe(1);
    expect(zeroDeviationFraction({ outcomes: [] })).toBe(0);
  });
});
