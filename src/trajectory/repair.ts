/** Corrections by prompt: the policy is shown a failed solution and writes another. */

import { confirmed, graftBest, leavesWithoutReference, type Correction, type CorrectionConfig } from "./corrections.ts";
import type { Problem, Sampler, Verifier } from "./problem.ts";
import { countTokens, request, sampleAll } from "./rollout.ts";
import { completionOf, isRollout, type Tree } from "./tree.ts";
import { failed, succeeded } from "./verify.ts";

export interface RepairCandidate {
  readonly problem: Problem;
  /** the completion that failed */
  readonly failed: readonly number[];
  /** the completion that the verifier confirmed in its place */
  readonly repaired: readonly number[];
}

export interface RepairConfig {
  /** the tokens to continue for a repair; null: none is asked for, because they would be too many, say */
  readonly prompt: (problem: Problem, failed: readonly number[]) => readonly number[] | null;
  /** what was written to a completion of the problem; null: no repair. Default: it is one. */
  readonly parse?: (
    problem: Problem,
    failed: readonly number[],
    completion: readonly number[],
  ) => readonly number[] | null;
  /**
   * A last word on repairs that the verifier confirmed, one answer each. A prompt that shows the known answer needs it: the
   * policy can write its usual errors and then just the answer.
   */
  readonly accept?: (candidates: readonly RepairCandidate[]) => readonly boolean[] | Promise<readonly boolean[]>;
  /** samples per failed solution; default 1. Of several that verify, the one that agrees longest is kept. */
  readonly perLeaf?: number;
  /** failed solutions asked per tree, the first ones; default all */
  readonly maxLeaves?: number;
  /**
   * `leaves-without-reference` (default): failed rollouts whose tree holds no verified solution, corrections included;
   * `groups-without-success`: failed rollouts without a correction of their own in groups where no rollout succeeded
   */
  readonly only?: "groups-without-success" | "leaves-without-reference";
  /** of what is written for a repair, before `parse`; default the `maxTokens` of a completion */
  readonly maxTokens?: number;
  /** token ids that end a repair; default those that end a completion */
  readonly stop?: readonly number[];
}

export interface RepairReport {
  /** samples asked for */
  readonly tried: number;
  /** of these, confirmed by the verifier */
  readonly verified: number;
  /** of these, also accepted */
  readonly accepted: number;
  /** generated */
  readonly tokens: number;
}

export const noRepairs: RepairReport = { tried: 0, verified: 0, accepted: 0, tokens: 0 };

/** Asks for all repairs of all trees in one call of the sampler. */
export async function repair(
  trees: readonly Tree[],
  sampler: Sampler,
  verifier: Verifier,
  config: CorrectionConfig,
  settings: RepairConfig,
): Promise<RepairReport> {
  const perLeaf = settings.perLeaf ?? 1;
  const asked = trees.flatMap((tree) =>
    leavesToRepair(tree, config, settings).flatMap((leaf) => {
      const failed = completionOf(tree, leaf);
      const prompt = settings.prompt(tree.problem, failed);
      return prompt === null ? [] : Array.from({ length: perLeaf }, () => ({ tree, leaf, failed, prompt }));
    }),
  );
  const completions = await sampleAll(
    sampler,
    asked.map(({ prompt }) => request(prompt, settings.maxTokens ?? config.maxTokens, settings.stop ?? config.stop)),
    "correct",
  );
  const parsed = asked.flatMap(({ tree, leaf, failed }, a): Correction[] => {
    const written = completions[a].tokens;
    const tokens = settings.parse === undefined ? written : settings.parse(tree.problem, failed, written);
    // A solution longer than the policy may write is none of its rollouts.
    return tokens === null || tokens.length > config.maxTokens ? [] : [{ tree, leaf, kept: 0, tokens }];
  });
  const verified = await confirmed(parsed, verifier, config.threshold);
  const verdicts = await settings.accept?.(
    verified.map(({ tree, leaf, tokens }) => ({
      problem: tree.problem,
      failed: completionOf(tree, leaf),
      repaired: tokens,
    })),
  );
  if (verdicts !== undefined && verdicts.length !== verified.length) {
    throw new RangeError(`correct: expected accept to answer ${verified.length} repairs, received ${verdicts.length}`);
  }
  const accepted = verified.filter((_, v) => verdicts?.[v] ?? true);
  graftBest(accepted, "repair", config.segment);
  return {
    tried: asked.length,
    verified: verified.length,
    accepted: accepted.length,
    tokens: countTokens(completions),
  };
}

function leavesToRepair(tree: Tree, config: CorrectionConfig, settings: RepairConfig): number[] {
  const { only = "leaves-without-reference", maxLeaves = Infinity } = settings;
  return (only === "leaves-without-reference" ? leavesWithoutReference(tree, config) : uncorrected(tree, config)).slice(
    0,
    maxLeaves,
  );
}

function uncorrected(tree: Tree, { threshold }: CorrectionConfig): number[] {
  if (tree.leaves.some((leaf) => isRollout(leaf) && succeeded(leaf, threshold))) return [];
  const corrected = new Set(tree.leaves.map((leaf) => leaf.corrects));
  return tree.leaves.flatMap((leaf, index) =>
    isRollout(leaf) && failed(leaf, threshold) && !corrected.has(index) ? [index] : [],
  );
}
