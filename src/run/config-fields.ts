/** The fields of a configuration, section by section: each with its default and meaning in one place. */

import { z } from "zod";

import type { KlEstimator } from "../ops/ops.ts";
import { proceduralTaskNames } from "../tasks/procedural/index.ts";
import { pythonContainments } from "../verifiers/code/python.ts";
import { expectedVerifier, isVerifierName } from "../verifiers/index.ts";
import { count, decay, fieldName, positive, seed } from "./field-kinds.ts";
import { methodFields } from "./method-fields.ts";
import { repairData } from "./warm-start.ts";

const klEstimators = ["k1", "k2", "k3", "abs", "k1+", "k3+"] as const satisfies readonly KlEstimator[];

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
      "what teaches repairs in that of chain-arithmetic, and of a procedural task with a repairTemplate: verified, pairs of a " +
        "failure and a success, which takes the answers; hindsight, any two attempts, the end of one as its hint; none",
    ),
  warmStartBlanked: z
    .number()
    .min(0)
    .max(1)
    .default(0.5)
    .describe("of repairs by hindsight: share of the pairs whose first attempt is not shown"),
  warmStartCritiques: z
    .boolean()
    .default(false)
    .describe(
      "teach that of a procedural task in text critiques too, by critiqueTemplate: failed demonstrations and the number of the " +
        "first step that differs from one that passed, which takes the answers",
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

/** By title, in the order in which they are written. */
export const sections = {
  "the policy": policyFields,
  "its problems": problemFields,
  "the method": methodFields,
  "the training": optimizationFields,
  "what is seen and kept of it": recordFields,
} as const;

export const fields = { ...policyFields, ...problemFields, ...methodFields, ...optimizationFields, ...recordFields };
