/** The main job: one warm start, then three ways to train it from the outcome alone, at equal generated tokens. */

import type { TransformerPolicy } from "../policies/transformer.ts";
import { loopConfigOf, resolveRun, type RunConfig, type RunSettings } from "../run/config.ts";
import { accuracyOf, runLoop, type Accuracy, type CurvePoint, type LoopEvents, type RunCounts } from "../run/loop.ts";
import { heldOutChains } from "../run/setup.ts";
import { freshPolicy, warmStart, warmStartDefaults, warmStartOf } from "../run/warm-start.ts";
import { chainArithmetic } from "../tasks/chain-arithmetic.ts";
import type { Iteration } from "../trainer.ts";

export type { Accuracy, CurvePoint } from "../run/loop.ts";

/** What each method is trained with. The settings of each were chosen apart, on other seeds: docs/demo.md. */
export const methods = {
  outcome: { lr: 6e-4, epochs: 2 },
  positiveOnly: { lr: 6e-4, epochs: 4 },
  iop: { lr: 6e-4, epochs: 4, repair: true, search: "none" },
} as const satisfies Readonly<Partial<Record<RunConfig["method"], RunSettings>>>;

export type MethodName = keyof typeof methods;

export const methodNames = Object.keys(methods) as readonly MethodName[];

/**
 * How the policy knows how to repair.
 *
 * - `hindsight`: from unverified attempts, each a right one for the answer that it ends with. The repair is asked for with the
 *   known answer and written backward from it, believed only where the policy finds it plausible without having seen the
 *   answer, and learned again with other verified solutions.
 * - `verified`: from pairs of a failed attempt and one that passed, which takes outcomes before any reinforcement.
 */
export const recipes = {
  hindsight: {
    start: { repairFormat: "backward", warmStartRepairs: "hindsight" },
    iop: { repairsPerGroup: 4, repairPlausibility: 0.003, replay: "both" },
  },
  verified: { start: { repairFormat: "forward", warmStartRepairs: "verified" }, iop: {} },
} as const satisfies Readonly<Record<string, { readonly start: RunSettings; readonly iop: RunSettings }>>;

export type RecipeName = keyof typeof recipes;
export const recipeNames = Object.keys(recipes) as readonly RecipeName[];

export interface DemoConfig {
  readonly seeds: readonly number[];
  readonly budgetTokens: number;
  /** held-out problems per evaluation */
  readonly evaluationProblems: number;
  /** generated tokens between two evaluations, about */
  readonly evaluateEvery: number;
  readonly repairs: RecipeName;
  /** of the warm start, its demonstrations and the held-out problems; the same for all seeds */
  readonly warmStartSeed: number;
  /** steps of the warm start; default those of the recipe */
  readonly warmStartSteps?: number;
}

export const demoDefaults: DemoConfig = {
  seeds: [0, 1, 2],
  budgetTokens: 240_000,
  evaluationProblems: 300,
  evaluateEvery: 30_000,
  repairs: "hindsight",
  warmStartSeed: 7,
};

/** One method of one seed as a configuration of `stepcredit train`. */
export function methodConfig(method: MethodName, seed: number, config: DemoConfig): RunConfig {
  const { budgetTokens, evaluationProblems, evaluateEvery, warmStartSeed } = config;
  const { start, iop } = recipes[config.repairs];
  const { warmStartSteps = warmStartDefaults[start.warmStartRepairs].steps } = config;
  const settings = { budgetTokens, evaluationProblems, evaluateEvery, warmStartSeed, warmStartSteps, ...start };
  const own = { ...methods[method], ...(method === "iop" && iop) };
  return resolveRun({ task: "chain-arithmetic", method, seed, ...own, ...settings }, "demo");
}

export interface Run extends RunCounts {
  readonly method: MethodName;
  readonly seed: number;
  readonly curve: readonly CurvePoint[];
  readonly tokens: number;
  readonly updates: number;
  /** training, without evaluation */
  readonly seconds: number;
}

/** What a listener hears while the demo works. */
export interface DemoEvents {
  warmStartStep(step: number, steps: number, loss: number): void | Promise<void>;
  warmStarted(policy: TransformerPolicy, accuracy: Accuracy): void | Promise<void>;
  iterated(method: MethodName, seed: number, iteration: Iteration): void | Promise<void>;
  evaluated(method: MethodName, seed: number, point: CurvePoint): void | Promise<void>;
  trained(policy: TransformerPolicy, run: Run): void | Promise<void>;
}

export interface DemoResult {
  readonly task: string;
  readonly parameters: number;
  readonly config: DemoConfig;
  readonly warmStart: Accuracy;
  readonly runs: readonly Run[];
  readonly seconds: number;
}

export async function runDemo(config: DemoConfig, events: DemoEvents): Promise<DemoResult> {
  const started = performance.now();
  const common = methodConfig("iop", 0, config);
  const task = chainArithmetic({ repairFormat: common.repairFormat });
  const heldOut = heldOutChains(task, common);
  const policy = freshPolicy(task, config.warmStartSeed, common);
  const settings = warmStartOf(common);
  await warmStart(policy, task, settings, (step, loss) => events.warmStartStep(step, settings.steps, loss));
  const start = await accuracyOf(policy, task, heldOut);
  await events.warmStarted(policy, start);

  const runs: Run[] = [];
  for (const seed of config.seeds) {
    for (const method of methodNames) {
      const trained = policy.clone();
      const heard: LoopEvents = {
        iterated: (iteration) => events.iterated(method, seed, iteration),
        evaluated: (point) => events.evaluated(method, seed, point),
      };
      const loopConfig = loopConfigOf(methodConfig(method, seed, config));
      const { counts, ...result } = await runLoop(trained, task, heldOut, loopConfig, heard, { start });
      const run = { method, seed, ...result, ...counts };
      await events.trained(trained, run);
      runs.push(run);
    }
  }
  return {
    task: task.name,
    parameters: policy.parameters().reduce((sum, { data }) => sum + data.length, 0),
    config,
    warmStart: start,
    runs,
    seconds: (performance.now() - started) / 1000,
  };
}
