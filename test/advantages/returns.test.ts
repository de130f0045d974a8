import { describe, expect, it } from "vitest";
import { gae, returnToGo, temporalDifferences } from "../../src/advantages/index.ts";
import { random } from "../support/random.ts";

const nan = Number.NaN;
// Two sequences of three tokens and one; the middle token of the first is masked and holds a reward of its own.
const sequenceOffsets = Int32Array.of(0, 3, 4);
const mask = [1, 0, 1, 1];
const rewards = [1, 100, 4, 8];

describe("returnToGo", () => {
  it("discounts from the end of each sequence", () => {
    expect([...returnToGo({ sequenceOffsets, rewards: [1, 2, 4, 8], gamma: 0.5 })]).toEqual([3, 4, 4, 8]);
  });

  it("carry: a masked token has no reward and no time passes", () => {
    expect([...returnToGo({ sequenceOffsets, mask, rewards, gamma: 0.5 })]).toEqual([3, 0, 4, 8]);
  });

  it("discount: a masked token has no reward, but time passes", () => {
    expect([...returnToGo({ sequenceOffsets, mask, rewards, gamma: 0.5, masked: "discount" })]).toEqual([2, 2, 4, 8]);
  });

  it("reset: a masked token records its return and passes nothing on", () => {
    expect([...returnToGo({ sequenceOffsets, mask, rewards, gamma: 0.5, masked: "reset" })]).toEqual([1, 102, 4, 8]);
  });

  it("refuses arrays that do not fit", () => {
    expect(() => returnToGo({ sequenceOffsets, rewards: [1] })).toThrow(
      "returnToGo: expected rewards [N] of length 4, received 1",
    );
    expect(() => returnToGo({ sequenceOffsets, rewards, mask: [1] })).toThrow("expected mask [N] of length 4");
    expect(() => returnToGo({ sequenceOffsets: Int32Array.of(1, 4), rewards })).toThrow("to start with 0");
  });
});

describe("temporalDifferences", () => {
  it("expect nothing behind the end of a sequence", () => {
    const values = [1, 2, 3, 4];
    // 1 + 0.5 · 2 − 1, 2 + 0.5 · 3 − 2, 4 − 3 | 8 − 4.
    expect([...temporalDifferences({ sequenceOffsets, rewards: [1, 2, 4, 8], values, gamma: 0.5 })]).toEqual([
      1, 1.5, 1, 4,
    ]);
  });
});

describe("gae", () => {
  const values = [1, 50, 3, 4];

  it("sums temporal differences with the weight γλ", () => {
    // δ = 1, 1.5, 1 | 4 as above; γλ = ¼.
    const plain = { sequenceOffsets, rewards: [1, 2, 4, 8], values: [1, 2, 3, 4], gamma: 0.5, lambda: 0.5 };
    const { advantages, returns } = gae(plain);
    expect([...advantages]).toEqual([1 + 1.75 / 4, 1.75, 1, 4]);
    expect([...returns]).toEqual([2 + 1.75 / 4, 3.75, 4, 8]);
  });

  it("with λ = 1 is the return less the value, with λ = 0 the temporal difference", () => {
    const args = { sequenceOffsets, rewards, values, gamma: 0.5 };
    const returns = returnToGo(args);
    gae(args).advantages.forEach((a, n) => expect(a).toBeCloseTo(returns[n] - values[n], 12));
    expect(gae({ ...args, lambda: 0 }).advantages).toEqual(temporalDifferences(args));
  });

  it("carry: a masked token is absent, value and all", () => {
    const compressed = { sequenceOffsets: Int32Array.of(0, 2, 3), rewards: [1, 4, 8], values: [1, 3, 4] };
    const without = gae({ ...compressed, gamma: 0.5, lambda: 0.9 });
    const { advantages, returns } = gae({ sequenceOffsets, mask, rewards, values, gamma: 0.5, lambda: 0.9 });
    expect([...advantages]).toEqual([without.advantages[0], 0, without.advantages[1], without.advantages[2]]);
    expect([...returns]).toEqual([without.returns[0], 0, without.returns[1], without.returns[2]]);
  });

  it("discount: a masked token has no reward and the value 0, and time passes", () => {
    const args = { sequenceOffsets, mask, gamma: 0.5, lambda: 0.9, masked: "discount" } as const;
    const { advantages } = gae({ ...args, rewards, values });
    // The masked token: δ = 0 + 0.5 · 3 − 0, A = 1.5 + 0.45 · 1. The first: δ = 1 + 0 − 1, A = 0.45 · 1.95.
    [0.45 * 1.95, 0, 1, 4].forEach((a, n) => expect(advantages[n]).toBeCloseTo(a, 14));
  });
});

describe("masked tokens", () => {
  it("of returns and of gae may hold anything", () => {
    const next = random(5);
    const poisoned = (array: readonly number[], fill: number) => array.map((x, n) => (mask[n] === 0 ? fill : x));
    for (const masked of ["carry", "discount"] as const) {
      const gamma = next();
      const args = (fill: number) => ({
        ...{ sequenceOffsets, mask, gamma, lambda: 0.7, masked },
        rewards: poisoned(rewards, fill),
        values: poisoned([1, 2, 3, 4], fill),
      });
      expect(returnToGo(args(nan))).toEqual(returnToGo(args(0)));
      expect(gae(args(nan))).toEqual(gae(args(0)));
      expect(gae(args(Infinity))).toEqual(gae(args(0)));
    }
  });
});
