import { describe, expect, it } from "vitest";
import { everyFilter, plausibleRepairs, smallRepairs, type RepairCandidate } from "../../src/trajectory/index.ts";

const candidate = (repaired: readonly number[], changedFrom: number): RepairCandidate => ({
  problem: { id: "a", prompt: [1, 2] },
  failed: [3, 4, 5, 6],
  repaired,
  changedFrom,
});

describe("plausible repairs", () => {
  it("measures the problem with the repair, from the first changed step on, and wants every token to be likely enough", async () => {
    const asked: unknown[] = [];
    const logprobs = [[0.5, 0.1], [0.5, 0.09], []].map((tokens) => tokens.map(Math.log));
    const filter = plausibleRepairs((sequences) => {
      asked.push(...sequences);
      return logprobs;
    }, 0.1);
    const candidates = [candidate([3, 4, 7, 8], 2), candidate([3, 4, 7, 9], 2), candidate([3, 4], 2)];
    expect(await filter.accept(candidates)).toEqual([true, false, true]);
    expect(asked.slice(0, 2)).toEqual([
      { tokens: [1, 2, 3, 4, 7, 8], from: 4 },
      { tokens: [1, 2, 3, 4, 7, 9], from: 4 },
    ]);
  });

  it("asks nothing about nothing", async () => {
    const filter = plausibleRepairs(() => expect.fail("asked"), 0.1);
    expect(await filter.accept([])).toEqual([]);
  });

  it.each([0, -1, 1.5, NaN])("wants a probability, not %d", (least) => {
    expect(() => plausibleRepairs(() => [], least)).toThrow(
      `plausibleRepairs: expected least to be a probability above 0, received ${least}`,
    );
  });
});

describe("small repairs", () => {
  it("keep a share of the failed solution", () => {
    const candidates = [0, 1, 2, 4].map((changedFrom) => candidate([3, 4, 5, 7], changedFrom));
    expect(smallRepairs(0.5).accept(candidates)).toEqual([false, false, true, true]);
    expect(() => smallRepairs(2)).toThrow("smallRepairs: expected least to be a share in 0 … 1, received 2");
  });
});

describe("several filters", () => {
  it("each see what those before them have left", async () => {
    const seen: number[] = [];
    const second = {
      accept: (candidates: readonly RepairCandidate[]) => {
        seen.push(candidates.length);
        return candidates.map(({ repaired }) => repaired[0] === 3);
      },
    };
    const candidates = [candidate([9, 9], 0), candidate([3, 4, 7], 2), candidate([8, 4, 7], 2)];
    expect(await everyFilter(smallRepairs(0.5), second).accept(candidates)).toEqual([false, true, false]);
    expect(seen).toEqual([2]);
  });
});
