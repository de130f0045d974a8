import { describe, expect, it } from "vitest";
import {
  evenReplay,
  newestReplay,
  replayEntries,
  type ReplayEntry,
  type ReplayState,
} from "../../src/trajectory/index.ts";
import { draw } from "../support/draw.ts";
import { random } from "../support/random.ts";

const entry = (id: number): ReplayEntry => ({ problem: { id: `${id}`, prompt: [id] }, failed: [1], success: [2] });
const ids = (entries: readonly ReplayEntry[]): number[] => entries.map(({ problem }) => Number(problem.id));

describe("what an iteration leaves to replay", () => {
  it("is every verified solution that a failure can be held against, once, with the first such failure", () => {
    const tree = draw(`
      1
        3
          4 → 0
          5 → 1
          6 → 0
        7 → 0
        8 → 1
    `);
    // All failures have [3, 5] for their reference: [7] differs in its first step from either, and the first is taken.
    expect(replayEntries([tree])).toEqual([{ problem: tree.problem, failed: [3, 4], success: [3, 5] }]);
  });

  it("holds repairs, and nothing of groups where all or none succeeded", () => {
    const repaired = draw(`
      1
        3 → 0
        4 → 1 repair of 0
    `);
    const [none, all] = [draw("1\n  3 → 0"), draw("1\n  3 → 1")];
    expect(replayEntries([repaired, none, all])).toEqual([{ problem: repaired.problem, failed: [3], success: [4] }]);
  });
});

describe("the newest", () => {
  it("are kept, and a buffer goes on from its state", () => {
    const buffer = newestReplay(3);
    buffer.add([1, 2].map(entry));
    const later = newestReplay(3, JSON.parse(JSON.stringify(buffer.state)) as ReplayState);
    for (const each of [buffer, later]) each.add([3, 4].map(entry));
    expect(ids(buffer.state.entries)).toEqual([2, 3, 4]);
    expect(later.state).toEqual(buffer.state);
    expect(buffer.state.added).toBe(4);
  });

  it("need room for one", () => {
    expect(() => newestReplay(0)).toThrow("newestReplay: expected capacity to be an integer ≥ 1, received 0");
  });
});

describe("an even sample", () => {
  it("holds early and late entries alike", () => {
    const draws = random(4);
    const counts = new Float64Array(20);
    for (let round = 0; round < 2000; round++) {
      const buffer = evenReplay(5, draws);
      for (let i = 0; i < 20; i++) buffer.add([entry(i)]);
      for (const id of ids(buffer.state.entries)) counts[id]++;
    }
    // Each is in with probability 5 / 20: 500 of 2000, standard deviation 19.
    for (const count of counts) expect(Math.abs(count - 500)).toBeLessThan(100);
  });
});
