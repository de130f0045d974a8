import { describe, expect, it } from "vitest";
import { fixedTokens, rollout, type SampleRequest, type Sampler } from "../../src/trajectory/index.ts";
import { dedent, drawing } from "../support/draw.ts";

/** Answers the requests of each call with the listed tokens, in order. */
function scripted(...answers: number[][]): Sampler & { readonly calls: (readonly SampleRequest[])[] } {
  const calls: (readonly SampleRequest[])[] = [];
  return {
    calls,
    sample: (requests) => {
      calls.push(requests);
      return Promise.resolve(
        answers.slice(0, requests.length).map((tokens) => ({ tokens, logprobs: tokens.map(() => -1) })),
      );
    },
  };
}

describe("rollout", () => {
  it("samples all groups in one call and shares what begins alike", async () => {
    const sampler = scripted([3, 4, 5], [3, 4, 6], [7], []);
    const problems = [
      { id: "a", prompt: [1] },
      { id: "b", prompt: [2] },
    ];
    const { trees, tokens } = await rollout(problems, sampler, {
      groupSize: 2,
      maxTokens: 3,
      stop: [6],
      segment: fixedTokens(2),
    });
    expect(sampler.calls).toEqual([[1, 1, 2, 2].map((prompt) => ({ prefix: [prompt], maxTokens: 3, stop: [6] }))]);
    expect(tokens).toBe(7);
    expect(trees.map((tree) => tree.problem)).toEqual(problems);
    expect(drawing(trees[0])).toBe(
      dedent(`
        1
          3 4
            5 → #0 …
            6 → #1 …
      `),
    );
    expect(drawing(trees[1])).toBe(
      dedent(`
        2 → #1 …
          7 → #0 …
      `),
    );
  });

  it("no problems ask nothing", async () => {
    const sampler = scripted();
    const result = await rollout([], sampler, { groupSize: 2, maxTokens: 3, segment: fixedTokens(1) });
    expect(result).toEqual({ trees: [], tokens: 0, surprises: [] });
    expect(sampler.calls).toEqual([]);
  });

  it("says what was wrong", async () => {
    const problems = [{ id: "a", prompt: [1] }];
    const config = { groupSize: 2, maxTokens: 3, segment: fixedTokens(1) };
    await expect(rollout(problems, scripted([3]), config)).rejects.toThrow(
      "rollout: expected 2 completions, received 1",
    );
    await expect(rollout(problems, scripted(), { ...config, groupSize: 0 })).rejects.toThrow("groupSize of at least 1");
    await expect(rollout(problems, scripted([3], [3]), { ...config, segment: () => [] })).rejects.toThrow(
      "segment: expected steps to hold each of 1 positions exactly once, received ranges that end at 0",
    );
  });
});
