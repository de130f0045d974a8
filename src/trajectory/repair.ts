/** Corrections by prompt: the policy is shown a failed solution and writes another. */

import {
  completionWith,
  confirmed,
  graftBest,
  leavesWithoutReference,
  stepsWith,
  type Correction,
  type CorrectionConfig,
} from "./corrections.ts";
import { agreement, compareAgreement } from "./identify.ts";
import type { Problem, Sampler, TokenMeasures, Verifier } from "./problem.ts";
import type { RepairFilter } from "./repair-filter.ts";
import { countTokens, generatedFor, request, sampleAll } from "./rollout.ts";
import { completionOf, isRollout, stepsOf, type Tree } from "./tree.ts";
import { failed, succeeded } from "./verify.ts";

export interface RepairCandidate {
  readonly problem: Problem;
  /** the completion that failed */
  readonly failed: readonly number[];
  /** the completion that the verifier confirmed in its place */
  readonly repaired: readonly number[];
  /** the first token of the first step of `repaired` that differs */
  readonly changedFrom: number;
}

/** How a repair is asked for, and how what is written for one stands for a completion. */
export interface RepairFormat {
  /**
   * the tokens to continue for a repair; null: none is asked for, because they would be too many, say. They may show the known
   * answer, of the problem as it is given here, or a successful sibling: hints. `sibling` is the successful rollout of the
   * same group that agrees longest with the failed one; null or undefined: there is none to show.
   */
  readonly prompt: (
    problem: Problem,
    failed: readonly number[],
    sibling?: readonly number[] | null,
  ) => readonly number[] | null;
  /** what was written to a completion of the problem; null: no repair. Default: it is one. */
  readonly parse?: (
    problem: Problem,
    failed: readonly number[],
    written: readonly number[],
  ) => readonly number[] | null;
  /** the inverse of `parse`: what should be written for a completion, to teach it. Default: the completion. */
  readonly express?: (problem: Problem, failed: readonly number[], repaired: readonly number[]) => readonly number[];
  /** whether a repair is complete before it has come to its end */
  readonly finished?: (problem: Problem, failed: readonly number[], written: readonly number[]) => boolean;
  /** of what is written for a repair, before `parse`; default the `maxTokens` of a completion */
  readonly maxTokens?: number;
  /** token ids that end a repair; default those that end a completion */
  readonly stop?: readonly number[];
}

/** The sequence that teaches a repair, and where what is learned begins; null where none would be asked for. */
export function repairSequence(
  format: RepairFormat,
  problem: Problem,
  failed: readonly number[],
  repaired: readonly number[],
): { readonly tokens: readonly number[]; readonly from: number } | null {
  const prompt = format.prompt(problem, failed);
  if (prompt === null) return null;
  const written = format.express?.(problem, failed, repaired) ?? repaired;
  return { tokens: [...prompt, ...written], from: prompt.length };
}

export interface RepairConfig extends RepairFormat {
  /**
   * A last word on repairs that the verifier confirmed. A prompt that shows the known answer, or a sibling that has it, needs
   * it: the policy can write its usual errors and then just the answer.
   */
  readonly filter?: RepairFilter;
  /** samples per failed solution; default 1. Of several that verify, the one that agrees longest is kept. */
  readonly perLeaf?: number;
  /** failed solutions asked per tree, the first ones; default all */
  readonly maxLeaves?: number;
  /** failed solutions asked in all, spread evenly over those in question; default all */
  readonly most?: number;
  /**
   * `leaves-without-reference` (default): failed rollouts whose tree holds no verified solution, corrections included;
   * `groups-without-success`: failed rollouts without a correction of their own in groups where no rollout succeeded;
   * `leaves-without-correction`: the same in all groups, so that a prompt can show a sibling, which is a reference already
   */
  readonly only?: "groups-without-success" | "leaves-without-reference" | "leaves-without-correction";
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
  const { perLeaf = 1, most = Infinity, finished, filter } = settings;
  const open = trees.flatMap((tree) =>
    leavesToRepair(tree, config, settings).flatMap((leaf) => {
      const failed = completionOf(tree, leaf);
      const prompt = settings.prompt(tree.problem, failed, siblingOf(tree, leaf, config));
      return prompt === null ? [] : [{ tree, leaf, failed, prompt }];
    }),
  );
  const asked = spread(open, most).flatMap((one) => Array.from({ length: perLeaf }, () => one));
  const completions = await sampleAll(
    sampler,
    asked.map(({ tree: { problem }, failed, prompt }) => ({
      ...request(prompt, settings.maxTokens ?? config.maxTokens, settings.stop ?? config.stop),
      ...(finished && { finished: (written: readonly number[]) => finished(problem, failed, written) }),
    })),
    "correct",
  );
  const parsed = asked.flatMap(({ tree, leaf, failed }, a): Correction[] => {
    const { tokens: written, finished, ...measured } = completions[a];
    const generated = generatedFor(completions[a]);
    if (settings.parse === undefined) {
      return whole({ tree, leaf, tokens: written, finished, measured, generated }, config);
    }
    const tokens = settings.parse(tree.problem, failed, written);
    // What was measured belongs to what was written.
    return tokens === null ? [] : whole({ tree, leaf, tokens, measured: unmeasured(tokens), generated }, config);
  });
  const verified = await confirmed(parsed, verifier, config.threshold);
  const verdicts = await filter?.accept(verified.map((correction) => candidateOf(correction, config)));
  if (verdicts !== undefined && verdicts.length !== verified.length) {
    throw new RangeError(`correct: expected a filter to judge ${verified.length} repairs, received ${verdicts.length}`);
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

/**
 * A whole completion as a correction; none where it is longer than the policy may write, for then it is none of its rollouts.
 * Numbers measured behind the repair's prompt are not those behind the problem's. So where steps follow them, a repair is cut
 * like the failed solution as far as it repeats its steps, and by its own numbers only from there on.
 */
function whole(correction: Omit<Correction, "kept">, { maxTokens, segment }: CorrectionConfig): Correction[] {
  const { tree, leaf, tokens, measured = {} } = correction;
  if (tokens.length > maxTokens) return [];
  if (segment.byMeasure !== true) return [{ ...correction, kept: 0 }];
  let [kept, from] = [0, 0];
  for (const step of stepsOf(tree, leaf)) {
    if (!step.every((token, t) => tokens[from + t] === token)) break;
    from += step.length;
    kept++;
  }
  const rest = { logprobs: measured.logprobs?.slice(from), entropies: measured.entropies?.slice(from) };
  return [{ ...correction, kept, tokens: tokens.slice(from), measured: rest }];
}

const unmeasured = (tokens: readonly number[]): TokenMeasures => ({ logprobs: tokens.map(() => NaN) });

/** At most `most` of them, evenly spaced. */
function spread<T>(items: readonly T[], most: number): readonly T[] {
  if (items.length <= most) return items;
  return Array.from({ length: most }, (_, i) => items[Math.floor((i * items.length) / most)]);
}

function candidateOf(correction: Correction, { segment }: CorrectionConfig): RepairCandidate {
  const { tree, leaf } = correction;
  const steps = stepsWith(correction, segment);
  const { steps: shared } = agreement(stepsOf(tree, leaf), steps);
  return {
    problem: tree.problem,
    failed: completionOf(tree, leaf),
    repaired: completionWith(correction),
    changedFrom: steps.slice(0, shared).flat().length,
  };
}

function leavesToRepair(tree: Tree, config: CorrectionConfig, settings: RepairConfig): number[] {
  const { only = "leaves-without-reference", maxLeaves = Infinity } = settings;
  const leaves = only === "leaves-without-reference" ? leavesWithoutReference(tree, config) : uncorrected(tree, config);
  return only === "groups-without-success" && successes(tree, config).length > 0 ? [] : leaves.slice(0, maxLeaves);
}

function uncorrected(tree: Tree, { threshold }: CorrectionConfig): number[] {
  const corrected = new Set(tree.leaves.map((leaf) => leaf.corrects));
  return tree.leaves.flatMap((leaf, index) =>
    isRollout(leaf) && failed(leaf, threshold) && !corrected.has(index) ? [index] : [],
  );
}

function successes(tree: Tree, { threshold }: CorrectionConfig): number[] {
  return tree.leaves.flatMap((leaf, index) => (isRollout(leaf) && succeeded(leaf, threshold) ? [index] : []));
}

/** The successful rollout that agrees longest with a failed one, of several the first; null: none succeeded. */
function siblingOf(tree: Tree, leaf: number, config: CorrectionConfig): number[] | null {
  const steps = stepsOf(tree, leaf);
  const agreed = successes(tree, config).map((sibling) => ({
    sibling,
    found: agreement(steps, stepsOf(tree, sibling)),
  }));
  if (agreed.length === 0) return null;
  const { sibling } = agreed.reduce((best, one) => (compareAgreement(one.found, best.found) > 0 ? one : best));
  return completionOf(tree, sibling);
}
