import { describe, expect, it } from "vitest";
import { parseRecordedProblem } from "../src/recorded.ts";

const withRollout = (rollout: unknown) => ({ id: 1, prompt: "p", rollouts: [{ text: "" }, rollout] });

describe("a recorded problem", () => {
  it("is taken as it is, with fields of its own", () => {
    const value = {
      id: "a",
      prompt: [1, 2],
      answer: null,
      rollouts: [{ tokens: [0], logprobs: [-0.5], reward: null, model: {} }],
    };
    expect(parseRecordedProblem(value)).toBe(value);
    expect(parseRecordedProblem({ id: 7, prompt: "", rollouts: [] })).toEqual({ id: 7, prompt: "", rollouts: [] });
  });

  it.each([
    [[], "the line: expected an object, received a list"],
    [null, "the line: expected an object, received null"],
    [{ prompt: "p", rollouts: [] }, "id: expected a string or a number, received nothing"],
    [{ id: 1, prompt: 5, rollouts: [] }, "prompt: expected a string or a list, received 5"],
    [{ id: 1, prompt: "p", rollouts: {} }, "rollouts: expected a list, received an object"],
    [withRollout("x"), 'rollouts[1]: expected an object, received "x"'],
    [withRollout({ reward: 1 }), "rollouts[1]: expected a rollout with text or tokens, received an object"],
    [withRollout({ text: 3 }), "rollouts[1].text: expected a string, received 3"],
    [
      withRollout({ tokens: [1, -1] }),
      "rollouts[1].tokens[1]: expected token ids, integers in 0 … 2³¹ − 1, received -1",
    ],
    [
      withRollout({ tokens: [0.5] }),
      "rollouts[1].tokens[0]: expected token ids, integers in 0 … 2³¹ − 1, received 0.5",
    ],
    [
      withRollout({ tokens: [2 ** 31] }),
      "rollouts[1].tokens[0]: expected token ids, integers in 0 … 2³¹ − 1, received 2147483648",
    ],
    [withRollout({ text: "", logprobs: [null] }), "rollouts[1].logprobs[0]: expected numbers, received null"],
    [
      withRollout({ tokens: [1], logprobs: [] }),
      "rollouts[1].logprobs: expected one per token, received 0 for 1 tokens",
    ],
    [withRollout({ text: "", reward: true }), "rollouts[1].reward: expected a number or null, received true"],
  ])("%j is refused with the field's name", (value, message) => {
    expect(() => parseRecordedProblem(value)).toThrow(new TypeError(message));
  });
});
