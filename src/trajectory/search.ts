/** Corrections by sampling: a failed solution is continued anew from its own step boundaries until one continuation verifies. */

import { confirmed, graftBest, leavesWithoutReference, type Correction, type CorrectionConfig } from "./corrections.ts";
import type { SampleRequest, Sampler, Verifier } from "./problem.ts";
import { countTokens, request, sampleAll } from "./rollout.ts";
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
  readonly steps: readonly (readonly number[])[];
  /** numbers of steps to keep, one per probe to come */
  readonly boundaries: readonly number[];
}

/**
 * Probes in rounds, one call of the sampler each, that take in every tree. A tree is done with its first verified
 * continuation, which is a reference for all of its failed rollouts. Continuations are cut into steps by themselves, from
 * their boundary on, so that the kept prefix is the same nodes.
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
      .map((leaf): Hunt => {
        const steps = stepsOf(tree, leaf);
        return { tree, leaf, steps, boundaries: boundaries(mode, steps.length).slice(0, maxProbes) };
      }),
  );
  let report = noProbes;
  for (let round = 0; ; round++) {
    const done = new Set(trees.filter((tree) => leavesWithoutReference(tree, config).length === 0));
    hunts = hunts.filter((hunt) => !done.has(hunt.tree) && round < hunt.boundaries.length);
    if (hunts.length === 0) return report;
    report = add(report, await probe(hunts, round, samples, sampler, verifier, config));
  }
}

async function probe(
  hunts: readonly Hunt[],
  round: number,
  samples: number,
  sampler: Sampler,
  verifier: Verifier,
  config: CorrectionConfig,
): Promise<SearchReport> {
  const asked = hunts.flatMap((hunt) => {
    const probe = { hunt, request: continuation(hunt, hunt.boundaries[round], config) };
    return probe.request.maxTokens < 1 ? [] : Array.from({ length: samples }, () => probe);
  });
  const completions = await sampleAll(
    sampler,
    asked.map((probe) => probe.request),
    "correct",
  );
  const found = asked.map(({ hunt: { tree, leaf, boundaries } }, a): Correction => ({
    tree,
    leaf,
    kept: boundaries[round],
    tokens: completions[a].tokens,
  }));
  const verified = await confirmed(found, verifier, config.threshold);
  graftBest(verified, "search", config.segment);
  return { probes: asked.length / samples, verified: verified.length, tokens: countTokens(completions) };
}

function continuation({ tree, steps }: Hunt, kept: number, config: CorrectionConfig): SampleRequest {
  const prefix = steps.slice(0, kept).flat();
  return request([...tree.problem.prompt, ...prefix], config.maxTokens - prefix.length, config.stop);
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
