/** What all ways of correcting share: which leaves need it, which continuation is kept, how it joins the tree. */

import { agreement, compareAgreement, identify } from "./identify.ts";
import type { Sampler, Segmenter, TokenMeasures, Verifier } from "./problem.ts";
import { countTokens, generatedFor, request, sampleAll } from "./rollout.ts";
import { splitSteps } from "./segment.ts";
import { graft, isRollout, stepsOf, type LeafSource, type Tree } from "./tree.ts";
import { failed, judge, succeeded } from "./verify.ts";

export interface CorrectionConfig {
  /** of a whole completion, the reused prefix included */
  readonly maxTokens: number;
  /** token ids that end a completion */
  readonly stop?: readonly number[];
  readonly segment: Segmenter;
  /** a solution succeeded if its outcome is above this; default 0.5 */
  readonly threshold?: number;
}

/** A completion that may correct a failed leaf. */
export interface Correction {
  readonly tree: Tree;
  /** the failed leaf */
  readonly leaf: number;
  /** steps of the failed leaf that were kept and are not in `tokens` */
  readonly kept: number;
  /** what follows them */
  readonly tokens: readonly number[];
  /** of `tokens` */
  readonly measured?: TokenMeasures;
  /** false: its sampler says that it was cut off */
  readonly finished?: boolean | undefined;
  /** tokens that were generated for it */
  readonly generated?: number;
}

export interface VerifiedCorrection extends Correction {
  readonly outcome: number;
}

/** The failed rollouts of a tree for which it holds no reference. */
export function leavesWithoutReference(tree: Tree, config: CorrectionConfig): number[] {
  const found = identify(tree, config);
  return tree.leaves.flatMap((leaf, index) =>
    isRollout(leaf) && failed(leaf, config.threshold) && found[index].reference < 0 ? [index] : [],
  );
}

/** The whole completion that a correction stands for. */
export function completionWith(correction: Correction): number[] {
  const { tree, leaf, kept, tokens } = correction;
  return [...stepsOf(tree, leaf).slice(0, kept).flat(), ...tokens];
}

/** Its steps: those that are kept, and those of what follows, which is cut by itself. */
export function stepsWith({ tree, leaf, kept, tokens, measured }: Correction, segment: Segmenter) {
  return [...stepsOf(tree, leaf).slice(0, kept), ...splitSteps(tokens, segment, measured)];
}

/** Those that the verifier confirms, in order. */
export async function confirmed(
  corrections: readonly Correction[],
  verifier: Verifier,
  threshold: number | undefined,
): Promise<VerifiedCorrection[]> {
  const verdicts = await Promise.all(
    corrections.map((correction) =>
      judge(verifier, correction.tree.problem, completionWith(correction), correction.finished),
    ),
  );
  return corrections.flatMap((correction, c) =>
    succeeded(verdicts[c], threshold) ? [{ ...correction, outcome: verdicts[c].outcome }] : [],
  );
}

/** Where a failed leaf is continued anew. */
export interface Regrowth {
  readonly tree: Tree;
  readonly leaf: number;
  /** steps of it that are kept */
  readonly kept: number;
}

/**
 * Continues every place `samples` times in one call of the sampler, and grafts what verifies. A place where the kept steps have
 * used up the tokens is passed over. Continuations are cut into steps by themselves, so that the kept prefix is the same nodes.
 */
export async function regrow(
  places: readonly Regrowth[],
  samples: number,
  source: LeafSource,
  sampler: Sampler,
  verifier: Verifier,
  config: CorrectionConfig,
): Promise<{ readonly probes: number; readonly verified: number; readonly tokens: number }> {
  const asked = places.flatMap((place) => {
    const prefix = stepsOf(place.tree, place.leaf).slice(0, place.kept).flat();
    const left = config.maxTokens - prefix.length;
    if (left < 1) return [];
    const probe = { place, request: request([...place.tree.problem.prompt, ...prefix], left, config.stop) };
    return Array.from({ length: samples }, () => probe);
  });
  const completions = await sampleAll(
    sampler,
    asked.map((probe) => probe.request),
    "correct",
  );
  const found = asked.map(({ place }, a): Correction => {
    const { tokens, finished, ...measured } = completions[a];
    return { ...place, tokens, finished, measured, generated: generatedFor(completions[a]) };
  });
  const verified = await confirmed(found, verifier, config.threshold);
  graftBest(verified, source, config.segment);
  return { probes: asked.length / samples, verified: verified.length, tokens: countTokens(completions) };
}

/** Grafts one correction per failed leaf: of several, the one that agrees longest with it, then the first. */
export function graftBest(corrections: readonly VerifiedCorrection[], source: LeafSource, segment: Segmenter): void {
  type Candidate = { readonly correction: VerifiedCorrection; readonly steps: readonly (readonly number[])[] };
  const best = new Map<Tree, Map<number, Candidate>>();
  for (const correction of corrections) {
    const { tree, leaf } = correction;
    const failedSteps = stepsOf(tree, leaf);
    const steps = stepsWith(correction, segment);
    const perLeaf = best.get(tree) ?? new Map<number, Candidate>();
    best.set(tree, perLeaf);
    const known = perLeaf.get(leaf);
    if (
      known === undefined ||
      compareAgreement(agreement(failedSteps, steps), agreement(failedSteps, known.steps)) > 0
    ) {
      perLeaf.set(leaf, { correction, steps });
    }
  }
  for (const [tree, perLeaf] of best) {
    for (const [leaf, { correction, steps }] of perLeaf) {
      const { outcome, generated } = correction;
      graft(tree, 0, steps, { source, corrects: leaf, outcome, ...(generated !== undefined && { generated }) });
    }
  }
}
