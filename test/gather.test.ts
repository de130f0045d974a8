import { describe, expect, it } from "vitest";
import { gather, isAlike } from "../src/gather.ts";
import type { Task } from "../src/tasks/task.ts";
import { fixedTokens, type Problem, type Sampler, type Tree } from "../src/trajectory/index.ts";
import { draw } from "./support/draw.ts";

/** Problems are numbers; a solution is a token that is right where it is even. */
const task: Task = {
  name: "even",
  vocabulary: 10,
  maxTokens: 1,
  segment: fixedTokens(1),
  verify: (_, [token]) => (token % 2 === 0 ? 1 : 0),
  problem: () => expect.fail("problems come from the caller"),
  write: (tokens) => tokens.join(" "),
};

/** Two solutions per problem: of problem 1 both wrong, of 2 both right, of 3 one of each. */
const sampler: Sampler = {
  sample: async (requests) =>
    requests.map(({ prefix: [number] }, i) => {
      const token = number === 1 ? 1 : number === 2 ? 2 : i % 2;
      return { tokens: [token], logprobs: [-1] };
    }),
};

async function gathered(numbers: readonly number[], problems: number, rounds: number, affordable = Infinity) {
  const left = [...numbers];
  const measured: number[] = [];
  const spent: number[] = [];
  const result = await gather(task, sampler, {
    problems,
    groupSize: 2,
    branches: 0,
    correct: () => task,
    rounds,
    affordable: (tokens) => {
      spent.push(tokens);
      return affordable;
    },
    draw: (): Problem => ({ id: "p", prompt: [left.shift() ?? expect.fail("one problem too many was drawn")] }),
    measured: (trees) => measured.push(trees.length),
    lap: () => undefined,
  });
  const numbersOf = (trees: readonly Tree[]) => trees.map(({ problem }) => problem.prompt[0]);
  const { trees, replaced, rolloutTokens } = result;
  return { trees: numbersOf(trees), replaced: numbersOf(replaced), rolloutTokens, measured, spent, left };
}

describe("groups that teach nothing", () => {
  it("are kept where nothing is to be drawn again", async () => {
    expect(await gathered([1, 2, 3], 3, 0)).toMatchObject({ trees: [1, 2, 3], replaced: [], rolloutTokens: 6 });
  });

  it("are replaced in their places, round by round, and paid for", async () => {
    const result = await gathered([1, 3, 2, 3, 1, 2], 3, 2);
    expect(result).toEqual({
      trees: [3, 3, 2],
      replaced: [1, 2, 1],
      rolloutTokens: 12,
      measured: [3, 2, 1],
      spent: [6, 10],
      left: [],
    });
  });

  it("are left as they are when the rounds or the budget are at their end", async () => {
    expect(await gathered([1, 1, 1, 1], 2, 1)).toMatchObject({ trees: [1, 1], replaced: [1, 1] });
    expect(await gathered([1, 1, 3], 2, 1, 1)).toMatchObject({ trees: [3, 1], replaced: [1] });
    expect(await gathered([1, 1], 2, 5, 0)).toMatchObject({ trees: [1, 1], replaced: [] });
  });

  it("have outcomes all alike and no correction", () => {
    const lines = (...leaves: readonly string[]) => draw(`1\n${leaves.map((leaf) => `  ${leaf}`).join("\n")}`);
    expect(isAlike(lines("2 → 0", "3 → 0"))).toBe(true);
    expect(isAlike(lines("2 → 1", "3 → 1"))).toBe(true);
    expect(isAlike(lines("2 → 1", "3 → 0"))).toBe(false);
    expect(isAlike(lines("2 → 0.25", "3 → 0"))).toBe(false);
    expect(isAlike(lines("2 → 0", "3 → 1 repair of 2"))).toBe(false);
  });
});
