import { describe, expect, it } from "vitest";
import {
  checkSteps,
  correct,
  entropySteps,
  rollout,
  type Completion,
  type EntropySteps,
  type Range,
} from "../../src/trajectory/index.ts";
import { parseEntropySteps } from "../../src/trajectory/entropy-steps.ts";
import { pick, random } from "../support/random.ts";
import { dedent, draw, drawing } from "../support/draw.ts";

const ranges = (...bounds: number[]): Range[] => bounds.slice(1).map((end, i) => ({ start: bounds[i], end }));
const tokens = (length: number): number[] => Array.from({ length }, (_, t) => t);
const cut = (settings: EntropySteps, entropies: readonly number[]) =>
  entropySteps(settings)(tokens(entropies.length), { entropies });

describe("steps by entropy", () => {
  it("begin at each token with at least the threshold, and at the first", () => {
    expect(cut({ threshold: 1 }, [0, 0.2, 1, 0.9, 3])).toEqual(ranges(0, 2, 4, 5));
    expect(cut({ threshold: 1 }, [2, 2])).toEqual(ranges(0, 1, 2));
    expect(cut({ threshold: 1 }, [])).toEqual([]);
  });

  // Of 3 5 1 4: 5 is the largest of 2, so of the top ⌊½ · 2⌋ = 1; 4 the second of 4, of the top 2; 1 the last of 3.
  it("begin at a token in the top share of those so far, of equal ones the earlier", () => {
    expect(cut({ top: 0.5 }, [3, 5, 1, 4])).toEqual(ranges(0, 1, 3, 4));
    expect(cut({ top: 0.5 }, [1, 1, 1, 1])).toEqual(ranges(0, 4));
    expect(cut({ top: 0.2 }, [0, 9, 9, 9, 9, 10])).toEqual(ranges(0, 5, 6));
    expect(cut({ top: 1 }, [1, 1, 0])).toEqual(ranges(0, 1, 2, 3));
  });

  it("have their least length, but for the last one", () => {
    expect(cut({ threshold: 1, least: 2 }, [2, 2, 2, 0, 0, 2])).toEqual(ranges(0, 2, 5, 6));
  });

  it("follow the surprise where no entropies are known, and no number that is not known", () => {
    const segment = entropySteps({ threshold: 1 });
    expect(segment(tokens(3), { logprobs: [-0.1, -2, -0.5] })).toEqual(ranges(0, 1, 3));
    expect(segment(tokens(3), { logprobs: [-0.1, -2, -0.5], entropies: [0, 0, 2] })).toEqual(ranges(0, 2, 3));
    expect(segment(tokens(3), { logprobs: [NaN, NaN, NaN] })).toEqual(ranges(0, 3));
    expect(cut({ top: 0.5 }, [NaN, 2, 1, 3])).toEqual(ranges(0, 3, 4));
  });

  it("hold every token exactly once, and cut alike what begins alike", () => {
    const next = random(1);
    for (let draw = 0; draw < 200; draw++) {
      const entropies = Array.from({ length: pick(next, 30) }, () => (pick(next, 9) === 0 ? NaN : 3 * next()));
      const least = 1 + pick(next, 4);
      const settings = pick(next, 2) === 0 ? { threshold: 3 * next(), least } : { top: 0.05 + 0.9 * next(), least };
      const steps = cut(settings, entropies);
      checkSteps(steps, entropies.length);
      expect(steps.slice(0, -1).every(({ start, end }) => end - start >= least)).toBe(true);
      const length = pick(next, entropies.length + 1);
      const whole = steps.map(({ start }) => start).filter((start) => start < length);
      expect(cut(settings, entropies.slice(0, length)).map(({ start }) => start)).toEqual(whole);
    }
  });

  it("want a number per token, and settings in range", () => {
    const segment = entropySteps({ top: 0.5 });
    expect(() => segment([1, 2])).toThrow(
      "entropySteps: expected an entropy or a log-prob for each of 2 tokens, received none",
    );
    expect(() => segment([1, 2], { logprobs: [0] })).toThrow("each of 2 tokens, received 1");
    expect(() => entropySteps({ threshold: NaN })).toThrow("a threshold of at least 0 nats, received NaN");
    expect(() => entropySteps({ top: 0 })).toThrow("a share above 0, at most 1, received 0");
    expect(() => entropySteps({ top: 1, least: 0 })).toThrow("least to be an integer ≥ 1, received 0");
  });

  it.each([
    ["2.5", { threshold: 2.5 }],
    ["0,3", { threshold: 0, least: 3 }],
    ["20%", { top: 0.2 }],
    ["100%,8", { top: 1, least: 8 }],
    ["0%", undefined],
    ["120%", undefined],
    ["2.5,0", undefined],
    ["-1", undefined],
    ["", undefined],
  ])("are written as %j", (text, settings) => {
    expect(parseEntropySteps(text)).toEqual(settings);
  });
});

describe("a tree by entropy", () => {
  const segment = entropySteps({ threshold: 1 });
  const answering = (...completions: readonly (readonly [readonly number[], readonly number[]])[]) => ({
    sample: () =>
      Promise.resolve(completions.map(([written, logprobs]): Completion => ({ tokens: written, logprobs }))),
  });

  it("is cut by the numbers of each rollout", async () => {
    const sampler = answering([[5, 6, 7], [0, -2, 0]], [[5, 8, 7], [0, -3, 0]]); // prettier-ignore
    const { trees } = await rollout([{ id: "p", prompt: [1] }], sampler, { groupSize: 2, maxTokens: 3, segment });
    expect(drawing(trees[0])).toBe(
      dedent(`
        1
          5
            6 7 → #0 …
            8 7 → #1 …
      `),
    );
  });

  // The numbers of a repair are those behind its own prompt, where nothing surprises before the change.
  it("shares a failure's steps with its repair as far as they are the same", async () => {
    const tree = draw(`
      1
        5
          6 7
            8 → 0
    `);
    const sampler = answering([[5, 6, 7, 9, 4, 3], [0, 0, 0, 0, 0, -2]]); // prettier-ignore
    const repair = { prompt: () => [2] };
    await correct([tree], sampler, (_, completion) => (completion.length === 6 ? 1 : 0), {
      maxTokens: 9,
      segment,
      repair,
    });
    expect(drawing(tree)).toBe(
      dedent(`
        1
          5
            6 7
              8 → #0 0
              9 4
                3 → #1 1 repair of 0
      `),
    );
  });
});
