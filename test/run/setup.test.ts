import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { resolveRun, type RunSettings } from "../../src/run/config.ts";
import { setUp } from "../../src/run/setup.ts";
import { repairPairsOf, warmStartOf } from "../../src/run/warm-start.ts";
import { proceduralTaskNames } from "../../src/tasks/procedural/index.ts";
import { random } from "../support/random.ts";

const small: RunSettings = {
  layers: 1,
  hidden: 8,
  heads: 2,
  intermediate: 8,
  maxTokens: 200,
  maxPositions: 256,
  evaluationProblems: 20,
};
const made = (settings: RunSettings) => setUp(resolveRun({ ...small, ...settings }, "here"));

describe.each(proceduralTaskNames)("a fresh policy on %s", (name) => {
  it("gets problems without end, of which none is held out, in its own characters", async () => {
    const { task, heldOut, policy } = await made({ task: name });
    const kept = new Set(heldOut.map(({ id }) => id));
    expect(kept.size).toBe(20);
    const draws = random(1);
    const ids = Array.from({ length: 300 }, (_, index) => task.problem(draws, index).id);
    expect(ids.filter((id) => kept.has(id))).toEqual([]);
    expect(new Set(ids).size).toBeGreaterThan(40);
    expect(task.count).toBeUndefined();
    expect(task.vocabulary).toBe(policy.vocabulary);
    expect(task.write(task.problem(draws, 300).prompt)).toMatch(/:$/);
  });
});

describe("the problems that a program makes", () => {
  it("are held out alike whatever the seed of the run, and otherwise for another start", async () => {
    const ids = async (settings: RunSettings) =>
      (await made({ task: "countdown", ...settings })).heldOut.map(({ id }) => id);
    expect(await ids({ seed: 5 })).toEqual(await ids({ seed: 6 }));
    expect(await ids({ warmStartSeed: 1 })).not.toEqual(await ids({ warmStartSeed: 2 }));
  });

  it("are a list where there are to be so many", async () => {
    const { task, heldOut } = await made({ task: "swaps", maxProblems: 50 });
    expect(task.count).toBe(50);
    const ids = Array.from({ length: 100 }, (_, index) => task.problem(random(1), index).id);
    expect(new Set(ids.slice(0, 50)).size).toBe(50);
    expect([...ids.slice(50)].sort()).toEqual([...ids.slice(0, 50)].sort());
    const kept = new Set(heldOut.map(({ id }) => id));
    expect(ids.filter((id) => kept.has(id))).toEqual([]);
  });

  it("are judged step by step where steps are lines, in characters and in words", async () => {
    const symbols = Array.from("0123456789+*=:\n").join(" ");
    for (const settings of [{}, { tokenizer: "words", symbols }]) {
      const { task } = await made({ task: "multiplication", level: 2, ...settings });
      const problem = task.problem(random(2), 0);
      const [first, second] = task.write(problem.prompt).replaceAll(/[ :]/g, "").split("*").map(Number);
      const products = [second % 10, second - (second % 10)].map((digit) => [digit, first * digit] as const);
      const sum = `${products[0][1]}+${products[1][1]}=${first * second}`;
      const lines = [...products.map(([digit, product]) => `${first}*${digit}=${product}`), sum];
      const text = Array.from(lines.join("\n"));
      const ids = text.map((letter) => letters(task.write, task.vocabulary).get(letter)!);
      expect(task.verify(problem, ids)).toBe(1);
      expect(task.firstWrongStep?.(problem, ids)).toBe(-1);
      expect(task.segment(ids)).toHaveLength(3);
      const broken = ids.with(text.indexOf("\n") - 1, ids[text.indexOf("=")]);
      expect(task.firstWrongStep?.(problem, broken)).toBe(0);
    }
    const { task } = await made({ task: "multiplication", steps: "tokens:4" });
    expect(task.firstWrongStep).toBeUndefined();
    const unsure = await made({ task: "multiplication", steps: "entropy:1.5,2" });
    const logprobs = [0, -2, -2, -2];
    expect(unsure.task.segment([0, 0, 0, 0], { logprobs })).toEqual([{ start: 0, end: 2 }, { start: 2, end: 4 }]); // prettier-ignore
  });

  it("are criticised in characters that a fresh policy has, and it is taught to, where the configuration says so", async () => {
    const asked = { task: "brackets", critiqueTemplate: "{prompt}{steps}? ", warmStartSteps: 3 } as const;
    const first = async (settings: RunSettings) => {
      const { task, policy, warmStart } = await made({ ...asked, ...settings });
      const problem = task.problem(random(1), 0);
      expect(task.write(task.critique?.prompt(problem, [problem.prompt, problem.prompt]) ?? [])).toMatch(
        /1\. .*\n2\. .*\? $/s,
      );
      expect(task.critique?.parse(task.critique.express?.(11) ?? [], [])).toBe(11);
      expect(policy.vocabulary).toBe(task.vocabulary);
      const losses: number[] = [];
      await warmStart?.((_, loss) => void losses.push(loss));
      return losses;
    };
    expect(await first({ warmStartCritiques: true })).not.toEqual(await first({}));
  });

  it("are demonstrated with as many slips as the configuration says", () => {
    const slipOf = (settings: RunSettings) =>
      warmStartOf(resolveRun({ task: "chain-arithmetic", ...settings }, "here")).slip;
    expect(slipOf({})).toBe(0.9);
    expect(slipOf({ warmStartSlip: 0.25, warmStartRepairs: "hindsight" })).toBe(0.25);
  });

  it("hide the first attempt of as many pairs as the configuration says, where repairs are by hindsight", () => {
    const shares = (settings: RunSettings) => {
      const config = resolveRun({ task: "chain-arithmetic", ...settings }, "here");
      return [warmStartOf(config).blanked, repairPairsOf(config).blanked];
    };
    expect(shares({ warmStartRepairs: "hindsight" })).toEqual([0.5, 0.5]);
    expect(shares({ warmStartRepairs: "hindsight", warmStartBlanked: 0 })).toEqual([0, 0]);
    expect(shares({ warmStartRepairs: "verified", warmStartBlanked: 1 })).toEqual([0, 0]);
  });

  it("teach a fresh policy to write demonstrations, not one that was loaded", async () => {
    const config = resolveRun({ ...small, hidden: 32, task: "multiplication", warmStartSteps: 120 }, "here");
    const { warmStart, policy } = await setUp(config);
    const losses: number[] = [];
    await warmStart?.((_, loss) => void losses.push(loss));
    expect(losses).toHaveLength(120);
    expect(losses.at(-1)).toBeLessThan(0.7 * losses[0]);
    const directory = mkdtempSync(join(tmpdir(), "stepcredit-"));
    try {
      await policy.save(directory);
      expect((await setUp(config, directory)).warmStart).toBeUndefined();
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

describe("repairs in the warm start of a procedural task", () => {
  const asked = { task: "swaps", repairTemplate: "{prompt}{attempt}:", tokenizer: "characters" } as const;
  const symbols = "abcdefghi123456789-=;:\n";
  const taught = (settings: RunSettings) =>
    made({ ...asked, symbols, warmStartNoise: 0.9, warmStartSteps: 1, ...settings });
  /** Loss of the first step, which is the mean of those of its parts. */
  const firstLoss = async (settings: RunSettings) => {
    const losses: number[] = [];
    await (await taught(settings)).warmStart?.((_, loss) => void losses.push(loss));
    return losses[0];
  };

  it("are taught where there is a template, by pairs as warmStartRepairs says", async () => {
    const losses = [
      await firstLoss({ repairTemplate: "" }),
      await firstLoss({ warmStartRepairs: "verified" }),
      await firstLoss({ warmStartRepairs: "hindsight" }),
    ];
    expect(new Set(losses).size).toBe(3);
  });

  it("are refused where a demonstrator who never slips makes no pairs", async () => {
    const { warmStart } = await taught({ warmStartNoise: 0 });
    await expect(warmStart?.(() => undefined)).rejects.toThrow(/warmStart: expected attempts that make verified pairs/);
  });

  it("by hindsight are refused where prompts hold the answer", () => {
    const config = { task: "countdown", repairTemplate: "{prompt}{attempt}:", warmStartRepairs: "hindsight" };
    expect(() => resolveRun(config, "here")).toThrow(/warmStartRepairs: expected verified or none.*"hindsight"/);
  });
});

/** The ids of single characters. */
function letters(write: (tokens: readonly number[]) => string, vocabulary: number): Map<string, number> {
  return new Map(Array.from({ length: vocabulary }, (_, id) => [write([id]), id]));
}
