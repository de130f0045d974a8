import { describe, expect, it } from "vitest";
import { stepAdvantages, stepOfTokens, vineAdvantages } from "../../src/advantages/index.ts";

const nan = Number.NaN;
const stepOffsets = Int32Array.of(0, 2, 3);

describe("stepAdvantages", () => {
  it("normalises over all steps of the group, then sums what is to come", () => {
    // Rewards 0, 1 | 2: mean 1, deviation 1.
    const args = { stepRewards: [0, 1, 2], stepOffsets, eps: 0 };
    expect([...stepAdvantages(args)]).toEqual([-1, 0, 1]);
    expect([...stepAdvantages({ ...args, stepRewards: [1, 0, 2] })]).toEqual([-1, -1, 1]);
    expect([...stepAdvantages({ ...args, stepRewards: [1, 0, 2], gamma: 0.5 })]).toEqual([-0.5, -1, 1]);
  });

  it("keeps groups apart, whatever their order", () => {
    const args = { stepRewards: [0, 2, 5, 5, 4], stepOffsets: Int32Array.of(0, 1, 2, 4, 5), eps: 0, ddof: 0 };
    expect([...stepAdvantages({ ...args, groups: ["a", "a", "b", "c"] })]).toEqual([-1, 1, 0, 0, 0]);
  });

  it("a step without a reward adds nothing", () => {
    expect([...stepAdvantages({ stepRewards: [nan, 0, 2], stepOffsets, eps: 0, ddof: 0 })]).toEqual([-1, -1, 1]);
  });
});

describe("vineAdvantages", () => {
  it("are what a step changed in the expected outcome", () => {
    const args = { stepRewards: [0, 1, 0], values: [0.25, 0.75, 0.5], stepOffsets };
    expect([...vineAdvantages(args)]).toEqual([0.5, 0.25, -0.5]);
  });

  it("are 0 where a value was not measured, and that value is what follows", () => {
    const args = { stepRewards: [0, 0, 1], values: [0.25, nan, nan], stepOffsets: Int32Array.of(0, 3) };
    expect([...vineAdvantages(args)]).toEqual([0.75, 0, 0]);
  });
});

describe("stepOfTokens", () => {
  const sequenceOffsets = Int32Array.of(0, 4, 4, 6);

  it("counts steps over all solutions; a token outside every step, or masked, has none", () => {
    const steps = [
      [
        { start: 0, end: 1 },
        { start: 1, end: 3 },
      ],
      [],
      [{ start: 1, end: 2 }],
    ];
    expect([...stepOfTokens({ sequenceOffsets, steps })]).toEqual([0, 1, 1, -1, -1, 2]);
    expect([...stepOfTokens({ sequenceOffsets, steps, mask: [1, 0, 1, 1, 1, 1] })]).toEqual([0, -1, 1, -1, -1, 2]);
  });

  it("refuses steps that overlap, are empty or reach too far", () => {
    const refuse = (...own: { start: number; end: number }[]) =>
      expect(() => stepOfTokens({ sequenceOffsets, steps: [own, [], []] })).toThrow(/^stepOfTokens: expected steps/);
    refuse({ start: 0, end: 2 }, { start: 1, end: 3 });
    refuse({ start: 1, end: 1 });
    refuse({ start: 0, end: 5 });
    expect(() => stepOfTokens({ sequenceOffsets, steps: [[]] })).toThrow("expected steps [B] of length 3, received 1");
  });
});
