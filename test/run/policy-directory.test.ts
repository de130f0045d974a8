import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TransformerPolicy } from "../../src/policies/transformer.ts";
import { resolveRun, type RunSettings } from "../../src/run/config.ts";
import { run, type RunEvents } from "../../src/run/run.ts";
import { proceduralTasks } from "../../src/tasks/procedural/index.ts";

let runs = "";
beforeAll(() => (runs = mkdtempSync(join(tmpdir(), "stepcredit-"))));
afterAll(() => rmSync(runs, { recursive: true }));

const unheard: RunEvents = {
  told: () => undefined,
  warmStarted: () => undefined,
  iterated: () => undefined,
  evaluated: () => undefined,
};
const small: RunSettings = {
  task: "brackets",
  layers: 1,
  hidden: 8,
  heads: 2,
  intermediate: 8,
  budgetTokens: 400,
  problemsPerIteration: 2,
  groupSize: 2,
  evaluationProblems: 2,
  warmStartSteps: 2,
};

describe("the policy of a run that began fresh on a task in text", () => {
  it.each(["auto", "words"])(
    "is a directory that reads and ends texts by itself (tokenizer: %s)",
    async (tokenizer) => {
      const words = Array.from(proceduralTasks.brackets.alphabet).join(" ");
      const settings = { ...small, tokenizer, ...(tokenizer === "words" && { symbols: words }) };
      const { directory } = await run(resolveRun({ ...settings, runs, name: tokenizer }, "here"), unheard, {
        resume: false,
      });
      const policy = await TransformerPolicy.load(join(directory, "policy"));
      expect(policy.tokenizer?.vocabulary).toBe(policy.vocabulary);
      expect(policy.endTokens).toEqual([policy.tokenizer?.idOf("<end>")]);
      const text = tokenizer === "words" ? "( [ {" : "([{";
      expect(policy.tokenizer?.encode(text)).toHaveLength(3);
      const [{ text: written }] = await policy.generate([text], { maxTokens: 8, seed: 1 });
      expect(typeof written).toBe("string");
    },
  );
});
