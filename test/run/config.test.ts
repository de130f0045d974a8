import { parse } from "yaml";
import { describe, expect, it } from "vitest";
import {
  ConfigError,
  loopConfigOf,
  parseYaml,
  resolveRun,
  writeRun,
  type RunConfig,
  type RunSettings,
} from "../../src/run/config.ts";

const least: RunSettings = { policy: "model", problems: "problems.jsonl" };
const resolved = (settings: RunSettings = {}): RunConfig => resolveRun({ ...least, ...settings }, "here");
const refusal = (settings: unknown): string => {
  try {
    resolveRun(settings, "here");
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return "accepted";
};

describe("a configuration", () => {
  it("gets the default of every field that it leaves out", () => {
    expect(resolved()).toMatchObject({ ...least, method: "iop", groupSize: 8, stop: [] });
  });

  it.each([
    [{ ...least, methd: "iop" }, "here: unknown field methd (did you mean method?)"],
    [{ ...least, learningRate: 1 }, /^here: unknown field learningRate \(did you mean \w+\?\)$/],
    [{ ...least, constructor: 1 }, /^here: unknown field constructor/],
    [{ ...least, groupSize: 1 }, /^here: groupSize: .*received 1$/],
    [{ ...least, groupSize: 2.5 }, /^here: groupSize: .*received 2.5$/],
    [{ ...least, lr: "fast" }, /^here: lr: .*received "fast"$/],
    [{ ...least, lr: 0 }, /^here: lr: /],
    [{ ...least, beta1: 1 }, /^here: beta1: /],
    [{ ...least, klCoef: -0.1 }, /^here: klCoef: .*received -0.1$/],
    [{ ...least, klEstimator: "k4" }, /^here: klEstimator: .*received "k4"$/],
    [{ ...least, referenceEvery: 1.5 }, /^here: referenceEvery: .*received 1.5$/],
    [{ ...least, repairKeptShare: 2 }, /^here: repairKeptShare: .*received 2$/],
    [{ ...least, repairKeepShare: 0.5 }, "here: unknown field repairKeepShare (did you mean repairKeptShare?)"],
    [
      { task: "swaps", warmStartCritiques: true },
      /^here: warmStartCritiques: expected a procedural task in text, a critiqueTemplate, .*received true$/,
    ],
    [{ ...least, replayKeep: "oldest" }, /^here: replayKeep: .*received "oldest"$/],
    [{ ...least, replayKeeps: "even" }, "here: unknown field replayKeeps (did you mean replayKeep?)"],
    [{ ...least, klCoeff: 0.1 }, "here: unknown field klCoeff (did you mean klCoef?)"],
    [{ ...least, method: "grpo" }, /^here: method: .*received "grpo"$/],
    [
      { ...least, verifier: "maths" },
      /^here: verifier: expected one of exact, .*, or a module's path .*received "maths"$/,
    ],
    [{ ...least, verifier: "" }, /^here: verifier: expected one of exact/],
    [{ ...least, verifierSeconds: 0 }, /^here: verifierSeconds: /],
    [{ ...least, pythonContainment: "none" }, /^here: pythonContainment: /],
    [{ ...least, stop: ["a", 1] }, /^here: stop\.1: /],
    [{ ...least, stop: "a" }, /^here: stop: /],
    [{ ...least, heads: 3 }, "here: hidden: expected a multiple of twice the 3 heads, received 64"],
    [
      { ...least, steps: "tokens:0" },
      /^here: steps: expected newline, sentences, tokens:N, delimiter:TEXT, entropy:NATS or entropy:P%, received/,
    ],
    [{ ...least, steps: "entropy:0%" }, /^here: steps: expected newline, .*received "entropy:0%"/],
    [{ policy: "model" }, 'here: problems: expected a file, as task is problems, received ""'],
    [{ problems: "p" }, /^here: tokenizer: expected characters, words or a directory, as policy is fresh/],
    [{ task: "sudoku" }, /^here: task: .*received "sudoku"$/],
    [{ task: "swaps", level: 6 }, "here: level: expected at most 5, the hardest of swaps, received 6"],
    [{ ...least, split: 0 }, /^here: split: /],
    [{ ...least, promptField: "" }, /^here: promptField: /],
    [{ task: "swaps", curriculum: true }, /^here: curriculum: expected a list of problems/],
    [{ task: "swaps", warmStartNoise: 1.5 }, /^here: warmStartNoise: .*received 1.5$/],
    [{ task: "chain-arithmetic", warmStartSlip: -1 }, /^here: warmStartSlip: .*received -1$/],
    [{ ...least, template: "Q:" }, 'here: template: expected {prompt} in it, received "Q:"'],
    [{ ...least, repairTemplate: "{prompt}" }, /^here: repairTemplate: expected {attempt} in it/],
    [{ ...least, critiqueTemplate: "{prompt}" }, /^here: critiqueTemplate: expected {steps} in it/],
    [
      { ...least, repairTemplate: "{attempt}{answer}" },
      /^here: repairPlausibility: expected more than 0, as repairTemplate shows the answer, received 0/,
    ],
    [
      { ...least, repairTemplate: "{attempt}{#sibling}{sibling}{/sibling}" },
      /^here: repairPlausibility: expected more than 0, as repairTemplate shows a success, received 0/,
    ],
    [
      { ...least, repairTemplate: "{attempt}{sibling}", repairPlausibility: 0.01 },
      /^here: repairTemplate: expected {sibling} between {#sibling} and {\/sibling}/,
    ],
    [[], "here: expected a record of fields, received []"],
    [null, "here: expected a record of fields, received null"],
    ["policy", 'here: expected a record of fields, received "policy"'],
  ])("refuses %j", (settings, message) => {
    expect(refusal(settings)).toMatch(message);
  });

  it("names a verifier or the file of one", () => {
    for (const verifier of ["countdown", "python", "./mine.mjs", "/x/mine", "mine.ts", "C:\\mine"]) {
      expect(resolved({ verifier }).verifier).toBe(verifier);
    }
  });

  it("is written as YAML that reads as the same", () => {
    const odd = { symbols: 'ab \n"', template: "Q: {prompt}\n\nA:", stop: ["\n\n", "</s>", "null"], name: "1" };
    for (const config of [resolved(), resolved(odd)]) {
      for (const comments of [false, true]) {
        const text = writeRun(config, comments);
        expect(resolveRun(parseYaml(text, "text"), "text")).toEqual(config);
        expect(Object.keys(parse(text) as object)).toEqual(Object.keys(config));
      }
    }
  });

  it("is explained field by field", () => {
    const lines = writeRun(resolved(), true).split("\n");
    for (const key of Object.keys(resolved())) {
      const at = lines.findIndex((line) => line.startsWith(`${key}:`));
      expect(lines[at - 1], key).toMatch(/^# \S.{3,}/);
    }
  });

  it("says where YAML cannot be read", () => {
    expect(() => parseYaml("a: [1", "file.yaml")).toThrow(/^file\.yaml: .*line 1/s);
  });

  it("becomes what the trainer is told", () => {
    expect(loopConfigOf(resolved({ search: "bisect", searchProbes: 3 }))).toMatchObject({
      rule: "contrast",
      penaltyWeight: 0.25,
      repair: true,
      search: { mode: "bisect", samples: 1, maxProbes: 3 },
    });
    expect(loopConfigOf(resolved({ search: "none", repair: false }))).toMatchObject({
      rule: "contrast",
      repair: false,
    });
    expect(loopConfigOf(resolved({ penaltyWeight: 1 }))).toMatchObject({ penaltyWeight: 1 });
    expect(loopConfigOf(resolved())).not.toHaveProperty("curriculum");
    expect(loopConfigOf(resolved())).not.toHaveProperty("resampleRounds");
    expect(loopConfigOf(resolved({ klEstimator: "k2", referenceEvery: 4 }))).not.toHaveProperty("kl");
    expect(loopConfigOf(resolved({ klCoef: 0.04, klEstimator: "k2", referenceEvery: 4 }))).toMatchObject({
      kl: { coefficient: 0.04, estimator: "k2" },
      referenceEvery: 4,
    });
    const replaying = loopConfigOf(resolved({ replay: "both", replayKeep: "even", repairKeptShare: 0.25 }));
    expect(replaying).toMatchObject({ replay: { of: "both", keep: "even" }, repairKeptShare: 0.25 });
    const chosen = loopConfigOf(resolved({ curriculum: true, curriculumTarget: 0.6, resample: true }));
    expect(chosen).toMatchObject({ curriculum: { target: 0.6 }, resampleRounds: 3 });
    for (const method of ["outcome", "positiveOnly"] as const) {
      const config = loopConfigOf(resolved({ method }));
      expect(config).toMatchObject({ rule: method, repair: false });
      expect(config).not.toHaveProperty("search");
    }
  });
});
