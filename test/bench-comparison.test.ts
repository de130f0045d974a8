import { describe, expect, it } from "vitest";
import { withoutPart } from "../bench/comparison/repair-variants.ts";
import { measureStrategy } from "../bench/comparison/strategies.ts";
import { resolveRun } from "../src/run/config.ts";
import { setUp } from "../src/run/setup.ts";
import { chainArithmetic } from "../src/tasks/chain-arithmetic.ts";
import { fixedTokens, type Sampler } from "../src/trajectory/index.ts";
import type { Policy } from "../src/policy.ts";
import type { Task } from "../src/tasks/task.ts";
import { random } from "./support/random.ts";

/** A sampler that writes the same in turn, whatever it is asked, cut to what is still wanted. */
function writing(...solutions: readonly (readonly number[])[]): Policy {
  const sampler = (): Sampler & { answered: number } => {
    let next = 0;
    return {
      answered: 0,
      sample: (requests) =>
        Promise.resolve(
          requests.map(({ maxTokens }) => {
            const tokens = solutions[next++ % solutions.length].slice(-maxTokens);
            return { tokens, logprobs: tokens.map(() => 0) };
          }),
        ),
    };
  };
  return { sampler } as unknown as Policy;
}

/** Right is 1 2 3. */
const counting: Task = {
  name: "counting",
  vocabulary: 10,
  maxTokens: 3,
  segment: fixedTokens(1),
  verify: (_, completion) => (completion[2] === 3 ? 1 : 0),
  firstWrongStep: (_, completion) => completion.findIndex((token, i) => token !== i + 1),
  problem: () => ({ id: "p", prompt: [0], answer: 3 }),
  write: String,
};
const problems = [counting.problem(Math.random, 0)];
const options = { groupSize: 2, seed: 1 };

describe("a measured strategy", () => {
  it("is right where the reference parts from the failure at its first wrong step", async () => {
    const policy = writing([1, 2, 4], [1, 2, 3]);
    const found = await measureStrategy(policy, counting, problems, { kind: "siblings" }, options);
    expect(found).toEqual({ failed: 1, withReference: 1, agreed: 1, tokens: 0 });
  });

  it("is wrong where a false success is taken for a reference", async () => {
    const policy = writing([1, 2, 4], [5, 2, 3]);
    const found = await measureStrategy(policy, counting, problems, { kind: "siblings" }, options);
    expect(found).toEqual({ failed: 1, withReference: 1, agreed: 0, tokens: 0 });
  });

  it("is asked where a group has no success, and pays for what it generates", async () => {
    const policy = writing([1, 4, 4], [1, 4, 4], [1, 2, 3], [9, 9, 9]);
    const rollouts = await measureStrategy(policy, counting, problems, { kind: "rollouts", samples: 1 }, options);
    expect(rollouts).toEqual({ failed: 2, withReference: 2, agreed: 2, tokens: 6 });
    const solved = writing([1, 2, 4], [1, 2, 3]);
    expect(await measureStrategy(solved, counting, problems, { kind: "rollouts", samples: 1 }, options)).toEqual({
      failed: 0,
      withReference: 0,
      agreed: 0,
      tokens: 0,
    });
  });

  it("continues from before the step that the checker names, which costs nothing to name", async () => {
    const policy = writing([1, 4, 4], [1, 4, 4], [7], [7], [1, 2, 3], [9, 9, 9]);
    const strategy = { kind: "critique", by: "checker", samples: 1 } as const;
    const found = await measureStrategy(policy, counting, problems, strategy, options);
    expect(found).toEqual({ failed: 2, withReference: 2, agreed: 2, tokens: 4 });
  });

  it("needs a task that knows its steps, and repairs where it is to ask for them", async () => {
    const { firstWrongStep: _, ...blind } = counting;
    const policy = writing([1, 2, 4]);
    await expect(measureStrategy(policy, blind, problems, { kind: "siblings" }, options)).rejects.toThrow(
      "expected counting to tell the first wrong step",
    );
    await expect(
      measureStrategy(policy, counting, problems, { kind: "repair", plausibility: 0 }, options),
    ).rejects.toThrow("expected counting to have repairs");
  });
});

describe("a repair with parts left out", () => {
  const task = chainArithmetic({ operations: 12, repairFormat: "backward" });
  const problem = task.problem(random(1));
  const right = task.demonstrate(problem, 0, () => 0);
  // Wrong from the seventh value on.
  const failed = right.map((token, t) => (t > 12 && t % 2 === 1 ? (token + 1) % 97 : token));
  const written = task.repair.express!(problem, failed, right);

  it("meets the failed attempt, or goes on to the start of the chain", () => {
    const [shown, whole] = [withoutPart(task, "shown").repair!, withoutPart(task, "whole").repair!];
    const met = written.slice(0, 12);
    expect(shown.finished!(problem, failed, met)).toBe(true);
    expect(whole.finished!(problem, failed, met)).toBe(false);
    expect(whole.finished!(problem, failed, written)).toBe(true);
    expect(shown.parse!(problem, failed, met)).toEqual(right);
    expect(whole.parse!(problem, failed, met)).toBeNull();
    expect(whole.parse!(problem, failed, written)).toEqual(right);
  });

  it("is asked for with the failed attempt, or with a blank of its length", () => {
    const asked = (variant: "shown" | "hidden" | "alone") => withoutPart(task, variant).repair!.prompt(problem, failed);
    expect(asked("shown")).toEqual([...problem.prompt, ...failed, task.vocabulary - 1, problem.answer]);
    expect(asked("hidden")).toEqual([...problem.prompt, ...task.blank, task.vocabulary - 1, problem.answer]);
    expect(asked("alone")).toEqual(asked("hidden"));
  });

  it("is of a task whose repairs are written backward", async () => {
    const { task: forward } = await setUp(resolveRun({ task: "chain-arithmetic" }, "here"));
    expect(() => withoutPart(forward, "whole")).toThrow("written backward");
  });
});
