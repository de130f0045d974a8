/** The configuration of a run: one flat record, each field with its default and meaning in one place. */

import { closest } from "fastest-levenshtein";
import { parse, stringify } from "yaml";
import { z } from "zod";

import { advantageNames } from "../crediting.ts";
import type { KlEstimator } from "../ops/ops.ts";
import { chainRepairFormats } from "../tasks/chain-arithmetic.ts";
import { proceduralTaskNames, proceduralTasks } from "../tasks/procedural/index.ts";
import { hintIn, needs } from "../tasks/template.ts";
import type { ProceduralTask } from "../tasks/procedural/procedural-task.ts";
import { parseEntropySteps } from "../trajectory/entropy-steps.ts";
import { pythonContainments } from "../verifiers/code/python.ts";
import { expectedVerifier, isVerifierName } from "../verifiers/index.ts";
import type { LoopConfig } from "./loop.ts";
import { repairData } from "./warm-start.ts";

const klEstimators = ["k1", "k2", "k3", "abs", "k1+", "k3+"] as const satisfies readonly KlEstimator[];

const count = (least = 1) => z.number().int().min(least);
const positive = () => z.number().positive();
const decay = () => z.number().min(0).lt(1);

const policyFields = {
  policy: z.string().min(1).default("fresh").describe("a Hugging Face directory, or fresh: one started at random"),
  tokenizer: z
    .string()
    .min(1)
    .default("auto")
    .describe(
      "auto: that of the policy's directory, of a fresh policy the characters of a procedural task; characters or words: made of symbols; or a directory",
    ),
  symbols: z
    .string()
    .default("0123456789+-*/=()., \n")
    .describe("of the tokenizers characters (one after the other) and words (between spaces); ids in this order"),
  layers: count().default(2).describe("of a fresh policy"),
  hidden: count().default(64).describe("width of a fresh policy, H"),
  heads: count().default(4).describe("of a fresh policy; hidden / heads is even"),
  intermediate: count().default(168).describe("width of the feed-forward part of a fresh policy"),
  maxPositions: count().default(256).describe("longest sequence of a fresh policy, in tokens"),
};

const problemFields = {
  task: z
    .enum(["problems", "chain-arithmetic", ...proceduralTaskNames])
    .default("problems")
    .describe(
      `problems: from a file; made by a program: chain-arithmetic (in tokens), ${proceduralTaskNames.join(", ")} (in text)`,
    ),
  level: count().default(1).describe("difficulty of a procedural task in text, 1 and up"),
  problems: z.string().default("").describe("JSON Lines, one problem each: { id, prompt, answer }"),
  promptField: fieldName("prompt").describe("of problems, in problems and heldOut; a.b is the field b of the field a"),
  answerField: fieldName("answer").describe("of their known answers: texts or numbers"),
  idField: fieldName("id").describe("of their ids; only id may be missing: the line's number takes its place"),
  maxProblems: count(0)
    .default(0)
    .describe(
      "problems that are kept, a sample by a hash of their ids; of a procedural task, as many are made once; 0: all, without end",
    ),
  heldOut: z
    .string()
    .default("")
    .describe(
      "problems for evaluation; empty: those that split leaves, or the last evaluationProblems of problems; none is trained on",
    ),
  split: z
    .number()
    .gt(0)
    .max(1)
    .default(1)
    .describe(
      "share of problems to train on, by a hash of their ids, so that none changes sides when the file grows; 1: no such split",
    ),
  splitSeed: seed().default(0).describe("of split and of maxProblems: the same for runs that are compared"),
  shuffle: z
    .boolean()
    .default(true)
    .describe("problems come in another order in every pass; false: in that of the file"),
  template: z.string().default("{prompt}").describe("the text that the policy continues, with {prompt} in it"),
  chat: z.boolean().default(false).describe("put that text into the tokenizer's chat template as the user's message"),
  stop: z.array(z.string().min(1)).default([]).describe("tokens that end a solution, besides the policy's end tokens"),
  maxTokens: count().default(256).describe("of a solution"),
  steps: z
    .string()
    .default("newline")
    .describe(
      "where steps end: newline, sentences, tokens:N (every N tokens), delimiter:TEXT (after this token), entropy:NATS or " +
        "entropy:P% (before tokens with at least this surprise, or in the top P % so far; with ,N at least N tokens)",
    ),
  verifier: z
    .string()
    .refine(isVerifierName, { error: `expected ${expectedVerifier}` })
    .default("number")
    .describe(
      "what a solution is judged by: its text (exact), last number (number), expression (math), letter (choice), " +
        "expression of given numbers (countdown), its program on tests (python, javascript), or a module ./FILE.mjs",
    ),
  verifierSeconds: positive()
    .max(86_400)
    .default(10)
    .describe("for one run of a program, which is wrong after that, or one verdict of a module, which is none"),
  verifierConcurrency: count(0)
    .default(0)
    .describe("programs that run, or verdicts of a module, at a time; 0: as many as there are usable cores"),
  pythonContainment: z
    .enum(pythonContainments)
    .default("kernel")
    .describe("kernel: programs without the kernel's filter get no verdict; audit: a weaker hook, for other systems"),
  answerMarker: z
    .string()
    .default("")
    .describe("the answer comes after its last occurrence, such as ####; empty: the whole solution is looked at"),
};

/** How outcomes become credit; all but iop are here to be compared with it. */
export const methods = ["outcome", "positiveOnly", "iop", "monteCarlo", "tree", "process"] as const;

const methodFields = {
  method: z
    .enum(methods)
    .default("iop")
    .describe(
      "iop: contrast with a verified reference; positiveOnly: without penalties or repairs; outcome: every step alike; " +
        "monteCarlo: values of steps by continuations (VinePPO, SPO); tree: leave-one-out on sampled trees (TreeRL-like); " +
        "process: the task's own scores of steps",
    ),
  advantage: z
    .enum(advantageNames)
    .default("grpo")
    .describe(
      "of a group's outcomes: less the mean over the deviation, less the mean, less the others', over the mean",
    ),
  contrast: z
    .enum(["both", "positive", "negative"])
    .default("both")
    .describe("of iop: what successes and corrections earn, what failures pay, or both"),
  penalty: z
    .enum(["tokens", "step", "suffix"])
    .default("tokens")
    .describe("what a failure pays for: differing tokens of the first differing step, all of it, all from there on"),
  tokenDiff: z
    .enum(["position", "subsequence"])
    .default("position")
    .describe("how tokens of two steps are compared: place by place, or by their longest common subsequence"),
  valueSamples: count().default(2).describe("monteCarlo: continuations per step boundary"),
  valueEvery: count().default(1).describe("monteCarlo: steps between two boundaries that are measured; 1: VinePPO"),
  branches: count(0)
    .default(0)
    .describe("rollouts of a group besides groupSize, from before the most surprising steps of the others; for tree"),
  repair: z.boolean().default(true).describe("iop asks the policy to repair failures, where it knows how to ask"),
  repairTemplate: z
    .string()
    .default("")
    .describe(
      "how it asks on problems in text, with {prompt} and {attempt} in it, {answer} where it may see the known answer, and " +
        "{#sibling}…{sibling}…{/sibling} where it may see a success of the group, left out where there is none; empty: it " +
        "does not",
    ),
  critiqueTemplate: z
    .string()
    .default("")
    .describe(
      "how it asks for the number of the first wrong step, with {prompt} and {steps} in it; empty: it does not. The failure " +
        "is continued from before that step",
    ),
  critiqueTokens: count().default(64).describe("of a critique, whose last number counts"),
  repairFormat: z
    .enum(chainRepairFormats)
    .default("forward")
    .describe(
      "on chain-arithmetic: forward, a solution; hinted, the answer and then a solution; backward, from the answer until " +
        "it meets the failed attempt",
    ),
  repairsPerGroup: count(0).default(0).describe("failed solutions of a group that are asked for a repair; 0: all"),
  repairPlausibility: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe(
      "a repair is believed where each token that it changed has this probability without the repair's prompt; 0: all are",
    ),
  repairKeptShare: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe("and where it keeps this share of the failed solution's tokens, from its beginning; 0: all are"),
  repairGate: z
    .enum(["open", "measured"])
    .default("open")
    .describe("open: always ask; measured: only while repairs give more successes per token than rollouts would"),
  replay: z
    .enum(["none", "solutions", "repairs", "both"])
    .default("none")
    .describe("supervised steps on verified solutions after every iteration: as solutions, as repairs, or both"),
  replaySteps: count().default(2).describe("of each kind, after every iteration"),
  replayBatch: count().default(64).describe("sequences per supervised step"),
  replayLr: positive().default(3e-4).describe("learning rate of the supervised steps"),
  replayCapacity: count().default(1000).describe("verified solutions that are kept"),
  replayKeep: z
    .enum(["newest", "even"])
    .default("newest")
    .describe("which those are: the newest, or an even sample of all that there were"),
  search: z
    .enum(["none", "gallop", "bisect"])
    .default("gallop")
    .describe("iop continues failures anew from their step boundaries: the last 1, 2, 4 … steps, or by halves"),
  searchProbes: count().default(2).describe("boundaries probed per failure"),
  searchSamples: count().default(1).describe("continuations per boundary"),
};

const optimizationFields = {
  budgetTokens: count().default(240_000).describe("generated tokens: rollouts, repairs and continuations all count"),
  problemsPerIteration: count().default(32).describe("P, each with its own group of rollouts"),
  groupSize: count(2).default(8).describe("rollouts per problem, G"),
  resample: z
    .boolean()
    .default(false)
    .describe(
      "groups with outcomes all alike and no correction make way for groups of other problems; their tokens count",
    ),
  resampleRounds: count().default(3).describe("how often in an iteration, at most, where resample is true"),
  curriculum: z
    .boolean()
    .default(false)
    .describe(
      "problems never tried first, then by chance, the likelier the closer their success rate to curriculumTarget",
    ),
  curriculumTarget: z.number().gt(0).lt(1).default(0.5).describe("success rate of the problems wanted most"),
  temperature: positive().default(1).describe("of the rollouts"),
  epochs: count().default(2).describe("passes over the rollouts of an iteration"),
  rowsPerBatch: count().default(128).describe("rollouts with credit per step of the optimizer, about"),
  positionsPerPass: count(0)
    .default(0)
    .describe("packed positions that go through the policy at a time, about; gradients add up; 0: a whole batch"),
  dtype: z
    .enum(["f32", "bf16", "f16"])
    .default("f32")
    .describe("what the weights are rounded to; the optimizer moves f32 master copies of them"),
  recompute: z
    .boolean()
    .default(false)
    .describe(
      "compute activations again for the gradient instead of keeping them: less memory for another forward pass",
    ),
  epsLow: z.number().min(0).max(1).default(0.2).describe("the ratio is clipped below 1 - epsLow"),
  epsHigh: z.number().min(0).default(0.2).describe("the ratio is clipped above 1 + epsHigh"),
  klCoef: z
    .number()
    .min(0)
    .default(0)
    .describe(
      "weight of the KL to the reference, which is the policy as it begins, after its warm start; 0: there is no reference",
    ),
  klEstimator: z
    .enum(klEstimators)
    .default("k3")
    .describe(
      "of that KL, with d the reference's log-prob of a token less the policy's: k1 -d, k2 d²/2, k3 eᵈ - d - 1, abs |d|; k1+ " +
        "and k3+ have the gradient of k2",
    ),
  referenceEvery: count(0)
    .default(0)
    .describe("iterations after which the policy, as it then is, becomes the reference; 0: it stays as it was"),
  lr: positive().default(1e-5).describe("learning rate of AdamW; a small fresh policy wants more, such as 0.0006"),
  beta1: decay().default(0.9).describe("decay of the first moment"),
  beta2: decay().default(0.99).describe("decay of the second moment"),
  maxGradNorm: positive().default(1).describe("a longer gradient is scaled down to this norm"),
  warmStartSteps: count(0)
    .default(1200)
    .describe("supervised steps of a fresh policy on demonstrations, where a program makes the problems"),
  warmStartNoise: z
    .number()
    .min(0)
    .max(1)
    .default(0.3)
    .describe("probability of a slip wherever a demonstration of a procedural task in text can have one"),
  warmStartSlip: z
    .number()
    .min(0)
    .max(1)
    .default(0.9)
    .describe("the same for chain-arithmetic: that a result which leaves 0 … 96 is written one too large"),
  warmStartRepairs: z
    .enum(repairData)
    .default("verified")
    .describe(
      "what teaches repairs in that of chain-arithmetic: verified, pairs of a failure and a success, which takes the " +
        "answers; hindsight, any two attempts, the end of one as its hint; none",
    ),
  warmStartSeed: seed()
    .default(7)
    .describe("of that start, its demonstrations, and the held-out problems that a program makes"),
};

const recordFields = {
  evaluateEvery: count().default(30_000).describe("generated tokens between two evaluations, about"),
  evaluationProblems: count(0).default(300).describe("held-out problems per evaluation; 0: no evaluation"),
  checkpointEvery: count().default(10).describe("iterations between two checkpoints; every evaluation has one too"),
  keepCheckpoints: count().default(2).describe("newest checkpoints that are kept, besides the best"),
  name: z.string().default("").describe("of the run's directory; empty: that of the configuration's file"),
  runs: z.string().min(1).default("runs").describe("where runs have their directories"),
  seed: seed().default(0).describe("of everything else that is drawn"),
  device: z.enum(["cpu", "cuda"]).default("cpu").describe("where the ops run"),
  threads: count(0).max(256).default(0).describe("of the CPU's ops; 0: the usable cores"),
};

function fieldName(standard: string) {
  return z.string().min(1).default(standard);
}

function seed() {
  return count(0).max(2 ** 32 - 1);
}

const sections = {
  "the policy": policyFields,
  "its problems": problemFields,
  "the method": methodFields,
  "the training": optimizationFields,
  "what is seen and kept of it": recordFields,
} as const;

const fields = { ...policyFields, ...problemFields, ...methodFields, ...optimizationFields, ...recordFields };
const schema = z.strictObject(fields);
const keys = Object.keys(fields);

/** A resolved configuration: every field has a value. */
export type RunConfig = Readonly<z.infer<typeof schema>>;

/** What leaves the field out gets its default. */
export type RunSettings = Readonly<z.input<typeof schema>>;

/** A configuration that cannot be run as it is; the message names where it comes from and the field. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/**
 * Checks a record and fills in what it leaves out.
 * @param where its source, for messages
 * @throws ConfigError that names the field, what it should be and what it is; of an unknown field the nearest known one
 */
export function resolveRun(values: unknown, where: string): RunConfig {
  if (typeof values !== "object" || values === null || Array.isArray(values)) {
    throw new ConfigError(`${where}: expected a record of fields, received ${JSON.stringify(values)}`);
  }
  for (const key of Object.keys(values)) {
    if (!Object.hasOwn(fields, key)) {
      throw new ConfigError(`${where}: unknown field ${key} (did you mean ${closest(key, keys)}?)`);
    }
  }
  const parsed = schema.safeParse(values);
  if (!parsed.success) {
    const [{ path, message }] = parsed.error.issues;
    const received = JSON.stringify((values as Record<PropertyKey, unknown>)[path[0]]);
    throw new ConfigError(`${where}: ${path.join(".")}: ${message}, received ${received}`);
  }
  checkTogether(parsed.data, where);
  return parsed.data;
}

/** The rules between fields. */
function checkTogether(config: RunConfig, where: string): void {
  const require = (holds: boolean, field: keyof RunConfig, expected: string): void => {
    if (holds) return;
    throw new ConfigError(`${where}: ${field}: expected ${expected}, received ${JSON.stringify(config[field])}`);
  };
  const { task, policy, template, repairTemplate, heads, hidden } = config;
  require(hidden % (2 * heads) === 0, "hidden", `a multiple of twice the ${heads} heads`);
  require(isStepRule(
    config.steps,
  ), "steps", "newline, sentences, tokens:N, delimiter:TEXT, entropy:NATS or entropy:P%");
  require(task !== "problems" || config.problems !== "", "problems", "a file, as task is problems");
  const procedural = proceduralOf(config);
  const levels = procedural?.levels.length ?? Infinity;
  require(config.level <= levels, "level", `at most ${levels}, the hardest of ${task}`);
  require(!config.curriculum ||
    task === "problems" ||
    (procedural !== undefined &&
      config.maxProblems > 0), "curriculum", "a list of problems: task problems, or maxProblems of a procedural task");
  require(template.includes("{prompt}"), "template", "{prompt} in it");
  require(repairTemplate === "" || repairTemplate.includes("{attempt}"), "repairTemplate", "{attempt} in it");
  require(config.critiqueTemplate === "" ||
    config.critiqueTemplate.includes("{steps}"), "critiqueTemplate", "{steps} in it");
  require(!needs(repairTemplate, "sibling"), "repairTemplate", "{sibling} between {#sibling} and {/sibling}");
  const hint = hintIn(repairTemplate);
  require(hint === undefined ||
    config.repairPlausibility > 0, "repairPlausibility", `more than 0, as repairTemplate shows ${hint}`);
  require(policy !== "fresh" ||
    task !== "problems" ||
    config.tokenizer !== "auto", "tokenizer", "characters, words or a directory, as policy is fresh");
}

/** The task of a configuration, where it is a procedural one in text. */
export function proceduralOf({ task }: Pick<RunConfig, "task">): ProceduralTask | undefined {
  return task === "problems" || task === "chain-arithmetic" ? undefined : proceduralTasks[task];
}

const entropyRule = "entropy:";

function isStepRule(steps: string): boolean {
  if (steps.startsWith(entropyRule)) return parseEntropySteps(steps.slice(entropyRule.length)) !== undefined;
  return /^(newline|sentences|tokens:[1-9]\d*|delimiter:.+)$/s.test(steps);
}

/** Reads YAML (or JSON, which it holds). Throws a ConfigError with the place where it cannot be read. */
export function parseYaml(text: string, where: string): unknown {
  try {
    return parse(text) as unknown;
  } catch (error) {
    throw new ConfigError(`${where}: ${(error as Error).message}`, { cause: error });
  }
}

/** Text as YAML, every field with its meaning above it. */
export function writeRun(config: RunConfig, comments: boolean): string {
  const lines: string[] = [];
  for (const [title, section] of Object.entries(sections)) {
    if (comments) lines.push(`# ── ${title}`, "");
    for (const [key, field] of Object.entries<z.ZodType>(section)) {
      if (comments) lines.push(`# ${field.description ?? ""}`);
      const value = { [key]: config[key as keyof RunConfig] };
      lines.push(stringify(value, { lineWidth: 0, blockQuote: false }).trimEnd());
      if (comments) lines.push("");
    }
  }
  return `${lines.join("\n").trimEnd()}\n`;
}

const contrasts = { both: "contrast", positive: "positiveOnly", negative: "negativeOnly" } as const;

/** What the loop is told. */
export function loopConfigOf(config: RunConfig): LoopConfig {
  const { method, repair, search: mode, searchProbes: maxProbes, searchSamples: samples, ...others } = config;
  const { repairsPerGroup, repairGate, replay: of, valueSamples, valueEvery: every, contrast, ...settings } = others;
  const { resample, resampleRounds, curriculum, curriculumTarget, klCoef, klEstimator, ...rest } = settings;
  const corrects = method === "iop";
  const { replaySteps: steps, replayBatch: batch, replayLr: lr, replayCapacity: capacity, replayKeep: keep } = config;
  return {
    ...rest,
    rule: corrects ? contrasts[contrast] : method,
    repair: corrects && repair,
    critique: corrects && config.critiqueTemplate !== "",
    monteCarlo: { samples: valueSamples, every },
    ...(repairsPerGroup > 0 && { repairsPerGroup }),
    ...(repairGate === "measured" && { repairGate: {} }),
    ...(of !== "none" && { replay: { of, steps, batch, lr, capacity, keep } }),
    ...(corrects && mode !== "none" && { search: { mode, samples, maxProbes } }),
    ...(resample && { resampleRounds }),
    ...(klCoef > 0 && { kl: { coefficient: klCoef, estimator: klEstimator } }),
    ...(curriculum && { curriculum: { target: curriculumTarget } }),
  };
}
