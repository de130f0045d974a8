import { describe, expect, it } from "vitest";
import { grpo, rloo } from "../../src/trajectory/index.ts";
import { pick, random } from "../support/random.ts";

const repeat = (value: number, count: number): number[] => Array.from({ length: count }, () => value);

describe("grpo", () => {
  it("divides the distance from the group's mean by its standard deviation", () => {
    // Mean 1, deviations −1, 0, 1: the sample deviation is 1, that of the population √(2/3).
    expect([...grpo({ outcomes: [0, 1, 2], eps: 0 })]).toEqual([-1, 0, 1]);
    expect(grpo({ outcomes: [0, 1, 2], eps: 0, ddof: 0 })[2]).toBeCloseTo(Math.sqrt(1.5), 14);
    expect(grpo({ outcomes: [0, 1, 2] })[2]).toBe(1 / (1 + 1e-4));
    expect([...grpo({ outcomes: [0, 1, 2], std: false })]).toEqual([-1, 0, 1]);
  });

  it("groups are named by their ids, in any order and size", () => {
    expect([...grpo({ outcomes: [0, 5, 1, 5, 2], groups: ["a", "b", "a", "b", "a"], eps: 0 })]).toEqual([
      -1, 0, 0, 0, 1,
    ]);
  });

  it("a group of one keeps its outcome or gets nothing, as asked", () => {
    const args = { outcomes: [0.5, 0, 2], groups: [7, 8, 8], eps: 0.25 };
    expect(grpo(args)[0]).toBe(0.5 / 1.25);
    expect(grpo({ ...args, std: false })[0]).toBe(0.5);
    expect(grpo({ ...args, singleton: "zero" })[0]).toBe(0);
  });

  it("refuses groups of another length, and too few outcomes for ddof", () => {
    expect(() => grpo({ outcomes: [1, 2], groups: [0] })).toThrow(
      "grpo: expected groups [L] of length 2, received a length of 1",
    );
    expect(() => grpo({ outcomes: [1, 2], ddof: 2 })).toThrow("more than ddof = 2 outcomes, received 2");
  });
});

describe("rloo", () => {
  it("subtracts the mean of the others", () => {
    expect([...rloo({ outcomes: [0, 1, 5] })]).toEqual([-3, -1.5, 4.5]);
  });

  it("a group of one keeps its outcome or gets nothing, as asked", () => {
    expect([...rloo({ outcomes: [3] })]).toEqual([3]);
    expect([...rloo({ outcomes: [3], singleton: "zero" })]).toEqual([0]);
  });
});

describe.each([
  ["grpo", grpo],
  ["grpo without eps", (args: Parameters<typeof grpo>[0]) => grpo({ ...args, eps: 0 })],
  ["rloo", rloo],
] as const)("%s", (_, estimate) => {
  it.each([
    [12, 0.7],
    [7, 0.95],
    [3, 0.1],
    [5, 1e308],
    [5, 0],
  ])("%i outcomes of %f are exactly 0", (count, value) => {
    expect([...estimate({ outcomes: repeat(value, count) })].map(Math.abs)).toEqual(repeat(0, count));
  });

  it("unverified outcomes take no part and get 0", () => {
    const whole = estimate({ outcomes: [Number.NaN, 0, 1, Number.NaN, 1] });
    const rest = estimate({ outcomes: [0, 1, 1] });
    expect([...whole]).toEqual([0, rest[0], rest[1], 0, rest[2]]);
    expect([...estimate({ outcomes: [Number.NaN, Number.NaN] })]).toEqual([0, 0]);
    expect([...estimate({ outcomes: [] })]).toEqual([]);
  });

  it("sums to nothing over a group, and a constant added to it changes nothing", () => {
    const next = random(3);
    for (let round = 0; round < 20; round++) {
      const outcomes = Array.from({ length: 2 + pick(next, 6) }, () => pick(next, 64) / 64);
      const advantages = estimate({ outcomes });
      expect(Math.abs(advantages.reduce((sum, a) => sum + a, 0))).toBeLessThan(1e-12);
      const shifted = estimate({ outcomes: outcomes.map((outcome) => outcome + 1024) });
      shifted.forEach((a, l) => expect(Math.abs(a - advantages[l])).toBeLessThan(1e-9));
    }
  });
});
