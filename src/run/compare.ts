/** Several configurations of one run, each with several seeds, from the same policies. */

import { setNumThreads } from "../ops/native.ts";
import type { TransformerPolicy } from "../policies/transformer.ts";
import { loopConfigOf, type RunConfig } from "./config.ts";
import { runLoop, type CurvePoint, type LoopResult, type RunCounts } from "./loop.ts";
import { setUp, type Setup } from "./setup.ts";

/** A configuration under a name; its seed is that of the comparison. */
export interface Variant {
  readonly name: string;
  readonly config: RunConfig;
}

export interface ComparedRun extends RunCounts {
  readonly seed: number;
  readonly tokens: number;
  readonly updates: number;
  readonly curve: readonly CurvePoint[];
  /** training, without evaluation */
  readonly seconds: number;
}

export interface ComparedVariant {
  readonly name: string;
  readonly config: RunConfig;
  /** in the order of the seeds */
  readonly runs: readonly ComparedRun[];
}

/** What a listener hears while a comparison works; it waits for it. */
export interface CompareEvents {
  /** what a person should know: problems left out */
  told(line: string): void;
  warmStarted(variant: string, step: number, steps: number, loss: number): void | Promise<void>;
  evaluated(variant: string, seed: number, point: CurvePoint): void | Promise<void>;
  compared(variant: ComparedVariant): void | Promise<void>;
}

/** Runs every variant with every seed, one after the other. Variants with the same start train copies of one policy. */
export async function compare(
  variants: readonly Variant[],
  seeds: readonly number[],
  events: CompareEvents,
): Promise<ComparedVariant[]> {
  const taught = new Map<string, TransformerPolicy>();
  const results: ComparedVariant[] = [];
  for (const { name, config } of variants) {
    const runs: ComparedRun[] = [];
    for (const seed of seeds) {
      const seeded = { ...config, seed };
      if (seeded.threads > 0) setNumThreads(seeded.threads);
      const setup = await setUp(seeded);
      for (const line of setup.told) events.told(`${name}, seed ${seed}: ${line}`);
      const policy = await startOf(setup, seeded, taught, (step, steps, loss) =>
        events.warmStarted(name, step, steps, loss),
      );
      const { counts, ...result } = await trainOne(policy, setup, seeded, (point) =>
        events.evaluated(name, seed, point),
      );
      const { curve, tokens, updates, seconds } = result;
      runs.push({ seed, tokens, updates, curve, seconds, ...counts });
    }
    const compared = { name, config, runs };
    await events.compared(compared);
    results.push(compared);
  }
  return results;
}

/** What two configurations begin with alike. */
const startFields = [
  "task",
  "level",
  "steps",
  "template",
  "tokenizer",
  "symbols",
  "maxTokens",
  "maxPositions",
  "chat",
  "maxProblems",
  "evaluationProblems",
  "repairFormat",
  "repairTemplate",
  "critiqueTemplate",
  "layers",
  "hidden",
  "heads",
  "intermediate",
  "dtype",
  "warmStartSteps",
  "warmStartRepairs",
  "warmStartBlanked",
  "warmStartCritiques",
  "warmStartNoise",
  "warmStartSlip",
  "warmStartSeed",
] as const satisfies readonly (keyof RunConfig)[];

async function startOf(
  { policy, warmStart }: Setup,
  config: RunConfig,
  taught: Map<string, TransformerPolicy>,
  onStep: (step: number, steps: number, loss: number) => void | Promise<void>,
): Promise<TransformerPolicy> {
  const { warmStartSteps: steps } = config;
  if (warmStart === undefined || steps === 0) return policy;
  const key = JSON.stringify(startFields.map((field) => config[field]));
  let start = taught.get(key);
  if (start === undefined) {
    await warmStart((step, loss) => onStep(step, steps, loss));
    taught.set(key, (start = policy));
  }
  return start.clone();
}

function trainOne(
  policy: TransformerPolicy,
  { task, heldOut }: Setup,
  config: RunConfig,
  evaluated: (point: CurvePoint) => void | Promise<void>,
): Promise<LoopResult> {
  return runLoop(policy, task, heldOut, loopConfigOf(config), { evaluated, iterated: () => undefined });
}
