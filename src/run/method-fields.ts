/** The fields of a configuration that say how outcomes become credit, and what is asked for corrections. */

import { z } from "zod";

import { advantageNames } from "../crediting.ts";
import { chainRepairFormats } from "../tasks/chain-arithmetic.ts";
import { count, positive } from "./field-kinds.ts";

/** A quarter ended level with all of the advantage, or above it, from every start of docs/comparison.md. */
const lightPenalty = 0.25;

/** How outcomes become credit; all but iop are here to be compared with it. */
export const methods = ["outcome", "positiveOnly", "iop", "monteCarlo", "tree", "process"] as const;

export const methodFields = {
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
  penaltyWeight: z
    .number()
    .min(0)
    .default(lightPenalty)
    .describe("of iop: times what a failure pays; 1: as much as its advantage, 0: nothing, which is contrast positive"),
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
    .enum(["none", "solutions", "repairs", "both", "critiques", "all"])
    .default("none")
    .describe(
      "supervised steps on verified solutions after every iteration: as solutions, as repairs, or both; as critiques, which " +
        "name the first step of a failure that differs from one; or all three",
    ),
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
