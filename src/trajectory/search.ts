/** Corrections by sampling: a failed solution is continued anew from its own step boundaries until one continuation verifies. */

import { leavesWithoutReference, regrow, type CorrectionConfig } from "./corrections.ts";
import type { Sampler, Verifier } from "./problem.ts";
import { stepsOf, type Tree } from "./tree.ts";

export interface SearchConfig {
  /**
   * which boundaries are probed, in order: `gallop` resamples the last 1, 2, 4, … steps, `bisect` keeps the first half, the
   * first quarter, …; both end with a fresh solution
   */
  readonly mode: "gallop" | "bisect";
  /** continuations per probe; default 1 */
  readonly samples?: number;
  /** probes per failed solution; default no bound but the number of boundaries */
  readonly maxProbes?: number;
  /** failed solutions searched per tree, the first ones; default all */
  readonly maxLeaves?: number;
}

export interface SearchReport {
  /** boundaries probed */
  readonly probes: number;
  /** continuations confirmed by the verifier */
  readonly verified: number;
  /** generated */
  readonly tokens: number;
}

export const noProbes: SearchReport = { probes: 0, verified: 0, tokens: 0 };

interface Hunt {
  readonly tree: Tree;
  readonly leaf: number;
  /** numbers of steps to keep, one per probe to come */
  readonly boundaries: readonly number[];
}

/**
 * Probes in rounds, one call of the sampler each, that take in every tree. A tree is done with its first verified
 * continuation, which is a reference for all of its failed rollouts.
 */
export async function search(
  trees: readonly Tree[],
  sampler: Sampler,
  verifier: Verifier,
  config: CorrectionConfig,
  settings: SearchConfig,
): Promise<SearchReport> {
  const { mode, samples = 1, maxProbes = Infinity, maxLeaves = Infinity } = settings;
  let hunts = trees.flatMap((tree) =>
    leavesWithoutReference(tree, config)
      .slice(0, maxLeaves)
      .map((leaf): Hunt => ({
        tree,
        leaf,
        boundaries: boundaries(mode, stepsOf(tree, leaf).length).slice(0, maxProbes),
      })),
  );
  let report = noProbes;
  for (let round = 0; ; round++) {
    const done = new Set(trees.filter((tree) => leavesWithoutReference(tree, config).length === 0));
    hunts = hunts.filter((hunt) => !done.has(hunt.tree) && round < hunt.boundaries.length);
    if (hunts.length === 0) return report;
    const places = hunts.map(({ tree, leaf, boundaries }) => ({ tree, leaf, kept: boundaries[round] }));
    report = add(report, await regrow(places, samples, "search", sampler, verifier, config));
  }
}

/** Numbers of steps to keep of a solution of `length` steps, in the order of probing; the last is 0. */
export function boundaries(mode: "gallop" | "bisect", length: number): number[] {
  const kept: number[] = [];
  if (mode === "gallop") {
    for (let window = 1; window < length; window *= 2) kept.push(length - window);
  } else {
    for (let half = Math.floor(length / 2); half > 0; half = Math.floor(half / 2)) kept.push(half);
  }
  return [...kept, 0];
}

function add(a: SearchReport, b: SearchReport): SearchReport {
  return { probes: a.probes + b.probes, verified: a.verified + b.verified, tokens: a.tokens + b.tokens };
}
