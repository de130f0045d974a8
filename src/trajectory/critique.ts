/** Corrections by critique: the policy names the first wrong step of a failed solution, which is grown anew from before it. */

import { leavesWithoutReference, regrow, type CorrectionConfig } from "./corrections.ts";
import type { Problem, Sampler, Verifier } from "./problem.ts";
import { countTokens, request, sampleAll } from "./rollout.ts";
import { agreement } from "./identify.ts";
import { stepsOf, type Tree } from "./tree.ts";

/** How a critique is asked for, and how what is written names a step. */
export interface CritiqueFormat {
  /** the tokens to continue for a critique of a solution's steps; null: none is asked for */
  readonly prompt: (problem: Problem, steps: readonly (readonly number[])[]) => readonly number[] | null;
  /** the index of the step that a critique names; null: none */
  readonly parse: (written: readonly number[], steps: readonly (readonly number[])[]) => number | null;
  /** the inverse of `parse`: what should be written for the index of a step, to teach it. Default: nothing teaches it. */
  readonly express?: (step: number) => readonly number[];
}

export interface CritiqueConfig extends CritiqueFormat {
  /** of a critique */
  readonly maxTokens: number;
  /** token ids that end a critique */
  readonly stop?: readonly number[];
  /** continuations from before the step that it names; default 1 */
  readonly samples?: number;
  /** failed solutions per tree, the first ones; default all */
  readonly maxLeaves?: number;
}

/**
 * The sequence that teaches a critique, and where what is learned begins. What it names is known by hindsight: the first step of
 * the failed solution that differs from a verified one. Null where none does, or none would be asked for or can be taught.
 */
export function critiqueSequence(
  { prompt: ask, express }: CritiqueFormat,
  problem: Problem,
  failed: readonly (readonly number[])[],
  verified: readonly (readonly number[])[],
): { readonly tokens: readonly number[]; readonly from: number } | null {
  const { steps: step } = agreement(failed, verified);
  const prompt = step < failed.length ? ask(problem, failed) : null;
  if (prompt === null || express === undefined) return null;
  return { tokens: [...prompt, ...express(step)], from: prompt.length };
}

export interface CritiqueReport {
  /** critiques asked for */
  readonly asked: number;
  /** of these, with a step that the solution has */
  readonly named: number;
  /** continuations confirmed by the verifier */
  readonly verified: number;
  /** generated: critiques and continuations */
  readonly tokens: number;
}

export const noCritiques: CritiqueReport = { asked: 0, named: 0, verified: 0, tokens: 0 };

/**
 * Asks for the critiques of all trees in one call of the sampler, then continues before the named steps in another. A critique
 * is never believed as such: where the error lies is read off a continuation that verified, as for every reference.
 */
export async function critique(
  trees: readonly Tree[],
  sampler: Sampler,
  verifier: Verifier,
  config: CorrectionConfig,
  settings: CritiqueConfig,
): Promise<CritiqueReport> {
  const { samples = 1, maxLeaves = Infinity } = settings;
  const asked = trees.flatMap((tree) =>
    leavesWithoutReference(tree, config)
      .slice(0, maxLeaves)
      .flatMap((leaf) => {
        const steps = stepsOf(tree, leaf);
        const prompt = settings.prompt(tree.problem, steps);
        return prompt === null ? [] : [{ tree, leaf, steps, prompt }];
      }),
  );
  const critiques = await sampleAll(
    sampler,
    asked.map(({ prompt }) => request(prompt, settings.maxTokens, settings.stop)),
    "correct",
  );
  const places = asked.flatMap(({ tree, leaf, steps }, a) => {
    const kept = settings.parse(critiques[a].tokens, steps);
    return kept !== null && Number.isInteger(kept) && kept >= 0 && kept < steps.length ? [{ tree, leaf, kept }] : [];
  });
  const { verified, tokens } = await regrow(places, samples, "critique", sampler, verifier, config);
  return { asked: asked.length, named: places.length, verified, tokens: tokens + countTokens(critiques) };
}
