/** The main job: one warm start, then three ways to train it from the outcome alone, at equal generated tokens. */

import { evaluate, type Evaluation } from "../evaluate.ts";
import type { TransformerPolicy } from "../policies/transformer.ts";
import { deriveSeed, Random } from "../random.ts";
import { chainArithmetic, type ChainArithmetic } from "../tasks/chain-arithmetic.ts";
import { train, type Iteration, type IterationMetrics, type TrainConfig } from "../trainer.ts";
import type { CreditRule, Problem } from "../trajectory/index.ts";
import { freshPolicy, warmStart, warmStartDefaults } from "./warm-start.ts";

export type MethodName = "outcome" | "positiveOnly" | "iop";

export interface MethodSettings {
  readonly rule: CreditRule;
  readonly repair: boolean;
  readonly lr: number;
  readonly epochs: number;
}

/** What each method is trained with. The settings of each were chosen apart, on other seeds: docs/demo.md. */
export const methods: Readonly<Record<MethodName, MethodSettings>> = {
  outcome: { rule: "outcome", repair: false, lr: 6e-4, epochs: 2 },
  positiveOnly: { rule: "positiveOnly", repair: false, lr: 6e-4, epochs: 4 },
  iop: { rule: "contrast", repair: true, lr: 6e-4, epochs: 4 },
};

export const methodNames = Object.keys(methods) as readonly MethodName[];

/** What all methods share. */
export const shared = {
  problemsPerIteration: 32,
  groupSize: 8,
  temperature: 1,
  beta1: 0.9,
  beta2: 0.99,
  maxGradNorm: 1,
  rowsPerBatch: 128,
  epsLow: 0.2,
  epsHigh: 0.2,
} as const satisfies Partial<TrainConfig>;

export interface DemoConfig {
  readonly seeds: readonly number[];
  readonly budgetTokens: number;
  /** held-out problems per evaluation */
  readonly evaluationProblems: number;
  /** generated tokens between two evaluations, about */
  readonly evaluateEvery: number;
  /** of the warm start, its demonstrations and the held-out problems; the same for all seeds */
  readonly warmStartSeed: number;
  /** steps of the warm start */
  readonly warmStartSteps: number;
}

export const demoDefaults: DemoConfig = {
  seeds: [0, 1, 2],
  budgetTokens: 240_000,
  evaluationProblems: 300,
  evaluateEvery: 30_000,
  warmStartSeed: 7,
  warmStartSteps: warmStartDefaults.steps,
};

export interface Accuracy {
  readonly greedy: number;
  readonly sampled: number;
  /** of the sampled successes, those with a wrong step */
  readonly falseSuccess: number;
}

/** `[tokens, greedy, sampled]` */
export type CurvePoint = readonly [tokens: number, greedy: number, sampled: number];

export interface Run {
  readonly method: MethodName;
  readonly seed: number;
  readonly curve: readonly CurvePoint[];
  readonly tokens: number;
  readonly updates: number;
  /** training, without evaluation */
  readonly seconds: number;
  readonly failed: number;
  readonly withReference: number;
  readonly judged: number;
  readonly agreed: number;
  readonly repairsTried: number;
  readonly repairsVerified: number;
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
  const task = chainArithmetic();
  const held = new Random(deriveSeed(config.warmStartSeed, "held-out problems"));
  const problems = Array.from({ length: config.evaluationProblems }, () => task.problem(held.next));
  const policy = freshPolicy(task, config.warmStartSeed);
  const settings = { ...warmStartDefaults, steps: config.warmStartSteps, seed: config.warmStartSeed };
  await warmStart(policy, task, settings, (step, loss) => events.warmStartStep(step, settings.steps, loss));
  const accuracy = await accuracyOf(policy, task, problems);
  await events.warmStarted(policy, accuracy);

  const runs: Run[] = [];
  for (const seed of config.seeds) {
    for (const method of methodNames) {
      const start: CurvePoint = [0, accuracy.greedy, accuracy.sampled];
      runs.push(await trainMethod(policy.clone(), task, method, seed, problems, start, config, events));
    }
  }
  return {
    task: task.name,
    parameters: policy.parameters().reduce((sum, { data }) => sum + data.length, 0),
    config,
    warmStart: accuracy,
    runs,
    seconds: (performance.now() - started) / 1000,
  };
}

async function trainMethod(
  policy: TransformerPolicy,
  task: ChainArithmetic,
  method: MethodName,
  seed: number,
  problems: readonly Problem[],
  start: CurvePoint,
  config: DemoConfig,
  events: DemoEvents,
): Promise<Run> {
  const curve: CurvePoint[] = [start];
  const counts = { failed: 0, withReference: 0, judged: 0, agreed: 0, repairsTried: 0, repairsVerified: 0 };
  let last: IterationMetrics | undefined;
  let seconds = 0;
  const evaluateNow = async (tokens: number): Promise<void> => {
    const { greedy, sampled } = await accuracyOf(policy, task, problems);
    const point: CurvePoint = [tokens, greedy, sampled];
    curve.push(point);
    await events.evaluated(method, seed, point);
  };
  const settings = { ...shared, ...methods[method], budgetTokens: config.budgetTokens, seed };
  for await (const iteration of train(policy, task, settings)) {
    const { metrics } = iteration;
    const spent = metrics.tokens - (last?.tokens ?? 0);
    last = metrics;
    seconds += metrics.seconds.rollout + metrics.seconds.correct + metrics.seconds.update;
    counts.failed += metrics.identify.failed;
    counts.withReference += metrics.identify.withReference;
    counts.judged += metrics.identify.judged;
    counts.agreed += metrics.identify.agreed;
    counts.repairsTried += metrics.correct.repair.tried;
    counts.repairsVerified += metrics.correct.repair.verified;
    await events.iterated(method, seed, iteration);
    // Before the next iteration would take the gap past `evaluateEvery`.
    if (metrics.tokens - curve[curve.length - 1][0] + spent / 2 >= config.evaluateEvery)
      await evaluateNow(metrics.tokens);
  }
  const tokens = last?.tokens ?? 0;
  if (curve[curve.length - 1][0] !== tokens) await evaluateNow(tokens);
  const run = { method, seed, curve, tokens, updates: last?.updates ?? 0, seconds, ...counts };
  await events.trained(policy, run);
  return run;
}

async function accuracyOf(
  policy: TransformerPolicy,
  task: ChainArithmetic,
  problems: readonly Problem[],
): Promise<Accuracy> {
  const at = (temperature: number): Promise<Evaluation> =>
    evaluate(task, problems, policy.sampler({ seed: 1, temperature }));
  const [greedy, sampled] = [await at(0), await at(1)];
  return { greedy: greedy.accuracy, sampled: sampled.accuracy, falseSuccess: sampled.falseSuccess ?? 0 };
}
