import { describe, expect, it } from "vitest";
import { creditEngineDefaults, prepareCredit, type CreditEngine } from "../src/credit-engine.ts";
import { creditRecorded, type CreditConfig } from "../src/credit.ts";
import type { RecordedProblem } from "../src/recorded.ts";
import { RemoteError } from "../src/remote/remote-sampler.ts";
import { codePoints } from "../src/tokenizers/code-points.ts";
import { characterTokenizer } from "../src/tokenizers/symbols.ts";
import type { SampleRequest } from "../src/trajectory/index.ts";
import { exactVerifier } from "../src/verifiers/exact.ts";

const verifier = exactVerifier("=");

interface Asked {
  readonly seed: number;
  readonly prefix: string;
  readonly maxTokens: number;
}

/** An engine that continues texts as it is told, with a token per two characters. */
function engine(
  answers: Readonly<Record<string, string | Error>>,
  more: Partial<CreditEngine> = {},
): CreditEngine & { readonly asked: Asked[] } {
  const asked: Asked[] = [];
  const answer = (seed: number, { prefix, maxTokens }: SampleRequest) => {
    const text = codePoints.decode(prefix);
    asked.push({ seed, prefix: text, maxTokens });
    const written = answers[text] ?? "";
    if (written instanceof Error) throw written;
    const tokens = codePoints.encode(written);
    return { tokens, logprobs: tokens.map(() => NaN), generated: Math.ceil(tokens.length / 2) };
  };
  return {
    asked,
    sampler: (seed) => ({ sample: async (requests) => requests.map((one) => answer(seed, one)) }),
    ...creditEngineDefaults,
    template: "{prompt}>",
    repairTemplate: "{prompt}|{attempt}|",
    critiqueTemplate: "{prompt}?{steps}?",
    critiqueTokens: 8,
    maxTokens: 16,
    ...more,
  };
}

const problem = (...rollouts: RecordedProblem["rollouts"]): RecordedProblem => ({
  id: "p",
  prompt: "P",
  answer: "7",
  rollouts,
});
const credit = (one: RecordedProblem, by: CreditEngine | undefined, config: CreditConfig = { advantage: "rloo" }) =>
  prepareCredit(one, config, { verifier, ...(by && { engine: by }) })();

// a⏎b⏎=8 fails; continued behind a⏎b⏎ it fails again, behind a⏎ it comes to c⏎=7.
const failure = { text: "a\nb\n=8", reward: 0 };
const answers = { "P>a\nb\n": "=9", "P>a\n": "c\n=7" };

describe("credit with an engine", () => {
  it("finds the first error of a failure by a continuation that verifies, and keeps it as a correction", async () => {
    const by = engine(answers);
    const found = await credit(problem(failure), by);
    expect(by.asked.map(({ prefix }) => prefix)).toEqual(["P>a\nb\n", "P>a\n"]);
    expect(by.asked.every(({ maxTokens }) => maxTokens === 16)).toBe(true);
    // In a group without a success |A| is 1; of b⏎ against c⏎ one character differs.
    expect(found.rollouts[0]).toMatchObject({
      firstError: 1,
      reference: -1,
      correction: 0,
      stepCredits: [0, -1, 0],
      advantages: [{ start: 2, end: 3, advantage: -1 }],
    });
    expect(found.corrections).toEqual([
      {
        rollout: 0,
        source: "search",
        generated: 2,
        sharedSteps: 1,
        text: "a\nc\n=7",
        reward: 1,
        steps: [{ start: 0, end: 2 }, { start: 2, end: 4 }, { start: 4, end: 6 }], // prettier-ignore
        stepCredits: [0, 1, 1],
        advantages: [{ start: 2, end: 6, advantage: 1 }],
      },
    ]);
    expect(found.spent).toEqual({ tokens: 3, search: { probes: 2, verified: 1, tokens: 3 } });
  });

  it("asks the sources in their order, each for what the one before has left", async () => {
    const by = engine(
      { "P|a\nb\n=8|": "a\nx\n=8", "P?1. a\n2. b\n3. =8?": "step 2", ...answers },
      { sources: ["repair", "critique", "search"] },
    );
    const { spent, corrections } = await credit(problem(failure), by);
    expect(by.asked.map(({ prefix }) => prefix)).toEqual(["P|a\nb\n=8|", "P?1. a\n2. b\n3. =8?", "P>a\n"]);
    expect(corrections).toMatchObject([{ source: "critique", text: "a\nc\n=7" }]);
    expect(spent).toEqual({
      tokens: 3 + 3 + 2,
      repair: { tried: 1, verified: 0, accepted: 0, tokens: 3 },
      critique: { asked: 1, named: 1, verified: 1, tokens: 5 },
      search: { probes: 0, verified: 0, tokens: 0 },
    });
  });

  it("asks nothing where a sibling is a reference, and credits as without it", async () => {
    const by = engine(answers);
    const group = problem(failure, { text: "a\nd\n=7", reward: 1 });
    const found = await credit(group, by);
    expect(by.asked).toEqual([]);
    expect(found).toEqual({ ...creditRecorded(group, { advantage: "rloo" }), spent: expect.anything() as unknown });
  });

  it("judges what has no reward, and leaves recorded rewards as they are", async () => {
    const found = await credit(problem({ text: "=7" }, { text: "=8" }, { text: "=8", reward: 1 }), undefined);
    expect(found.rollouts.map(({ reward }) => reward)).toEqual([1, 0, 1]);
    const unjudged = await credit({ ...problem({ text: "=7" }), answer: {} }, undefined);
    expect(unjudged.rollouts[0]).toMatchObject({
      reward: null,
      unverified: expect.stringContaining("answer") as string,
    });
  });

  it("gives seeds by the record's id alone", async () => {
    const seedOf = async (id: string, seed = 0) => {
      const by = engine(answers, { seed });
      await credit({ ...problem(failure), id }, by);
      return by.asked[0].seed;
    };
    expect(await seedOf("p")).toBe(await seedOf("p"));
    expect(await seedOf("p")).not.toBe(await seedOf("q"));
    expect(await seedOf("p")).not.toBe(await seedOf("p", 1));
  });

  it("says why it failed, and credits what was found until then", async () => {
    const by = engine({ "P|a\nb\n=8|": new RemoteError("gone", 500) }, { sources: ["repair", "search"] });
    const found = await credit(problem(failure), by);
    expect(found).toMatchObject({ error: "gone", corrections: [], spent: { tokens: 0 } });
    expect(found.rollouts[0]).toMatchObject({ firstError: -1, stepCredits: [0, 0, 0] });
    const other = engine({ "P>a\nb\n": new TypeError("a slip of ours") });
    await expect(credit(problem(failure), other)).rejects.toThrow("a slip of ours");
  });

  it("does not take a continuation that was cut off for one that came to its end", async () => {
    const finished: boolean[] = [];
    const by = engine({});
    const cut = { ...by, sampler: () => ({ sample: async (requests: readonly SampleRequest[]) => requests.map(() => ({ tokens: [0x3d], logprobs: [NaN], finished: false })) }) }; // prettier-ignore
    const noting = { verify: (_: string, __: unknown, end: boolean) => (finished.push(end), 0) };
    await prepareCredit(problem({ text: "a" }), {}, { verifier: noting, engine: cut })();
    expect(finished).toEqual([true, false]);
  });

  it("reads texts in tokens where there is a tokenizer, with an advantage for each", async () => {
    const tokenizer = characterTokenizer("=78abcP>\n");
    const by = engine({});
    const inTokens = {
      ...by,
      sampler: () => ({
        sample: async (requests: readonly SampleRequest[]) =>
          requests.map(({ prefix }) => {
            const tokens = tokenizer.encode(tokenizer.decode(prefix) === "P>a\n" ? "c\n=7" : "");
            return { tokens, logprobs: tokens.map(() => 0) };
          }),
      }),
    };
    const found = await credit(problem(failure), inTokens, { tokenizer, advantage: "rloo" });
    expect(found).toMatchObject({
      unit: "token",
      rollouts: [{ tokens: tokenizer.encode(failure.text), advantages: [0, 0, -1, 0, 0, 0] }],
      corrections: [{ tokens: tokenizer.encode("a\nc\n=7"), text: "a\nc\n=7", advantages: [0, 0, 1, 1, 1, 1] }],
    });
  });

  it.each([
    ["tokens without a tokenizer", problem({ tokens: [1], reward: 0 }), {}, "take a tokenizer"],
    ["messages without a chat template", { ...problem(failure), prompt: [{ role: "user", content: "P" }] }, {}, "take a tokenizer with a chat template"],
    ["a prompt of something else", { ...problem(failure), prompt: [{}] }, {}, "expected a text, token ids or messages"],
    ["tokens that the tokenizer does not have", problem({ tokens: [9], reward: 0 }), { tokenizer: characterTokenizer("ab") }, "rollouts[0].tokens: expected ids in 0 … 1"],
  ])("refuses %s before it asks", (_, one, config, message) => {
    expect(() => prepareCredit(one, config, { verifier, engine: engine({}) })).toThrow(message);
  }); // prettier-ignore
});

describe("repairs that see a hint", () => {
  const tokenizer = characterTokenizer("=78abcdP>|\n");
  const config: CreditConfig = { tokenizer, advantage: "rloo" };

  /** An engine in the tokenizer's tokens, which finds every token as probable as it is told. */
  function hinted(answers: Readonly<Record<string, string>>, more: Partial<CreditEngine>, probability = 0.5) {
    const asked: string[] = [];
    const measured: { text: string; from: number }[] = [];
    const by: CreditEngine = {
      ...creditEngineDefaults,
      sampler: () => ({
        sample: async (requests) =>
          requests.map(({ prefix }) => {
            asked.push(tokenizer.decode(prefix));
            const tokens = tokenizer.encode(answers[tokenizer.decode(prefix)] ?? "");
            return { tokens, logprobs: tokens.map(() => 0) };
          }),
      }),
      measure: (sequences) =>
        sequences.map(({ tokens, from }) => {
          measured.push({ text: tokenizer.decode(tokens), from });
          return tokens.slice(from).map(() => Math.log(probability));
        }),
      sources: ["repair"],
      template: "{prompt}>",
      repairTemplate: "{prompt}|{attempt}|{answer}|",
      repairPlausibility: 0.1,
      ...more,
    };
    return { by, asked, measured };
  }

  it("are shown the known answer, and believed where they are plausible without it", async () => {
    const answers = { "P|a\nb\n=8|7|": "a\nc\n=7" };
    const { by, asked, measured } = hinted(answers, {});
    const found = await credit(problem(failure), by, config);
    expect(asked).toEqual(["P|a\nb\n=8|7|"]);
    // Behind the problem's own prompt, from the first step that differs.
    expect(measured).toEqual([{ text: "P>a\nc\n=7", from: 4 }]);
    expect(found).toMatchObject({
      corrections: [{ source: "repair", text: "a\nc\n=7" }],
      spent: { repair: { tried: 1, verified: 1, accepted: 1 } },
    });

    const doubted = hinted(answers, { sources: ["repair", "search"] }, 0.05);
    const left = await credit(problem(failure), doubted.by, config);
    expect(left).toMatchObject({ corrections: [], spent: { repair: { tried: 1, verified: 1, accepted: 0 } } });
    expect(doubted.asked.slice(1)).toEqual(["P>a\nb\n", "P>a\n"]);
  });

  it("are shown a success of the group where there is one, beside which they are asked all the same", async () => {
    const repairTemplate = "{prompt}|{attempt}|{#sibling}{sibling}|{/sibling}";
    const shown = hinted({ "P|a\nb\n=8|a\nd\n=7|": "a\nb\n=7" }, { repairTemplate });
    const found = await credit(problem(failure, { text: "a\nd\n=7", reward: 1 }), shown.by, config);
    expect(shown.asked).toEqual(["P|a\nb\n=8|a\nd\n=7|"]);
    expect(found.rollouts[0]).toMatchObject({ firstError: 2, reference: -1, correction: 0 });

    const alone = hinted({}, { repairTemplate });
    await credit(problem(failure), alone.by, config);
    expect(alone.asked).toEqual(["P|a\nb\n=8|"]);
  });

  it("are refused where nothing says whether they are believed", () => {
    const { measure: _, ...blind } = hinted({}, {}).by;
    const prepared =
      (by: CreditEngine, settings = config) =>
      () =>
        prepareCredit(problem(failure), settings, { verifier, engine: by });
    expect(prepared(hinted({}, { repairPlausibility: 0 }).by)).toThrow(
      "expected repairPlausibility above 0, as repairTemplate shows the answer, received 0",
    );
    expect(prepared(blind)).toThrow("expected an engine with measure");
    expect(prepared(hinted({}, {}).by, {})).toThrow("believed by the probabilities of its tokens, and these have none");
    expect(prepared(hinted({}, { repairPlausibility: 0, sources: ["search"] }).by)).not.toThrow();
  });
});

describe("steps by entropy in recorded rollouts", () => {
  const steps = { kind: "entropy", settings: { threshold: 1 } } as const;

  it("follow the log-probs, or the entropies where they are recorded", () => {
    const [byLogprobs, byEntropies] = creditRecorded(
      problem(
        { tokens: [1, 2, 3], logprobs: [0, -2, 0], reward: 1 },
        { tokens: [1, 2, 3], logprobs: [0, -2, 0], entropies: [0, 0, 3], reward: 1 },
      ),
      { steps },
    ).rollouts;
    expect(byLogprobs.steps).toEqual([{ start: 0, end: 1 }, { start: 1, end: 3 }]); // prettier-ignore
    expect(byEntropies.steps).toEqual([{ start: 0, end: 2 }, { start: 2, end: 3 }]); // prettier-ignore
  });

  it("want a number per token", () => {
    expect(() => creditRecorded(problem({ tokens: [1], reward: 1 }), { steps })).toThrow(
      "rollouts[0].logprobs: steps follow them",
    );
  });
});
