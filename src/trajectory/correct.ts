/**
 * References where a group holds none: the failed solution is repaired by prompt, or grown anew from
 * one of its step boundaries: the one before the step that a critique names, or one that a search comes to.
 *
 * Only corrections that the verifier confirms become leaves. Those that fail are counted in the report and forgotten: they
 * are no sample of the policy's solutions, so they belong to no group. Where an error lies is never read off the boundary
 * from which a correction was found; `identify` compares the two solutions.
 */

import type { CorrectionConfig } from "./corrections.ts";
import { critique, noCritiques, type CritiqueConfig, type CritiqueReport } from "./critique.ts";
import type { Sampler, Verifier } from "./problem.ts";
import { noRepairs, repair, type RepairConfig, type RepairReport } from "./repair.ts";
import { noProbes, search, type SearchConfig, type SearchReport } from "./search.ts";
import type { Tree } from "./tree.ts";

export interface CorrectConfig extends CorrectionConfig {
  /** asked first */
  readonly repair?: RepairConfig;
  /** asked for what repair left without a reference */
  readonly critique?: CritiqueConfig;
  /** asked for what is left then */
  readonly search?: SearchConfig;
}

export interface CorrectReport {
  readonly repair: RepairReport;
  readonly critique: CritiqueReport;
  readonly search: SearchReport;
}

/** Grows the trees by corrections of their failed rollouts. Every leaf needs its outcome first. */
export async function correct(
  trees: readonly Tree[],
  sampler: Sampler,
  verifier: Verifier,
  config: CorrectConfig,
): Promise<CorrectReport> {
  for (const tree of trees) {
    const open = tree.leaves.findIndex((leaf) => leaf.outcome === undefined);
    if (open >= 0) {
      throw new RangeError(`correct: expected verified leaves, leaf ${open} of ${tree.problem.id} has no outcome yet`);
    }
  }
  return {
    repair: config.repair === undefined ? noRepairs : await repair(trees, sampler, verifier, config, config.repair),
    critique:
      config.critique === undefined ? noCritiques : await critique(trees, sampler, verifier, config, config.critique),
    search: config.search === undefined ? noProbes : await search(trees, sampler, verifier, config, config.search),
  };
}
