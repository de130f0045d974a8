import { describe, expect, it } from "vitest";
import { gigpo } from "../../src/advantages/index.ts";

const nan = Number.NaN;
// Rollout x took two steps, y one; both began in state "start".
const args = {
  episodeRewards: [0, 0, 2],
  stepRewards: [1, 7, 4],
  groups: ["p", "p", "p"],
  trajectories: ["x", "x", "y"],
  anchors: ["start", "later", "start"],
  std: false,
};

describe("gigpo", () => {
  it("adds the advantage of the episode and that of the step among steps from the same state", () => {
    // Episodes: mean 1 of 0 and 2. Steps from "start": mean 2.5 of 1 and 4; "later" has no company.
    expect([...gigpo(args)]).toEqual([-1 - 1.5, -1, 1 + 1.5]);
    expect([...gigpo({ ...args, stepWeight: 2 })]).toEqual([-1 - 3, -1, 1 + 3]);
  });

  it("divides both parts by their deviations when asked", () => {
    const advantages = gigpo({ ...args, std: true, eps: 0 });
    [-Math.SQRT2, -Math.SQRT1_2, Math.SQRT2].forEach((a, s) => expect(advantages[s]).toBeCloseTo(a, 14));
  });

  it("does not mix trajectories and states of one name from different problems", () => {
    const twice = {
      episodeRewards: [0, 2, 10, 30],
      stepRewards: [0, 0, 0, 0],
      groups: [0, 0, 1, 1],
      trajectories: [0, 1, 0, 1],
      anchors: ["s", "s", "s", "s"],
      std: false,
    };
    expect([...gigpo(twice)]).toEqual([-1, 1, -10, 10]);
    expect([...gigpo({ ...twice, episodeRewards: [0, 0, 0, 0], stepRewards: [0, 2, 10, 30] })]).toEqual([
      -1, 1, -10, 10,
    ]);
  });

  it("a lone trajectory keeps its reward", () => {
    expect([...gigpo({ ...args, groups: ["p", "p", "q"] })]).toEqual([0, 0, 2]);
  });

  it("an unverified episode takes no part in its half", () => {
    expect([...gigpo({ ...args, episodeRewards: [nan, nan, 2] })]).toEqual([-1.5, 0, 2 + 1.5]);
  });

  it("refuses two rewards for one episode, and arrays of another length", () => {
    expect(() => gigpo({ ...args, episodeRewards: [0, 1, 2] })).toThrow(/received 0 and 1 for \["p","x"\]/);
    expect(() => gigpo({ ...args, anchors: ["start"] })).toThrow("gigpo: expected anchors [S] of length 3, received 1");
  });
});
