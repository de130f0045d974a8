/** A run's loop: training with the evaluations and checkpoints that fall due between its iterations. */

import { evaluate } from "../evaluate.ts";
import type { IterationMetrics } from "../iteration-metrics.ts";
import type { TransformerPolicy } from "../policies/transformer.ts";
import type { Task } from "../tasks/task.ts";
import { train, type Iteration, type TrainConfig, type TrainState } from "../trainer.ts";
import type { Problem } from "../trajectory/index.ts";

export interface Accuracy {
  readonly greedy: number;
  readonly sampled: number;
  /** of the sampled successes, those with a wrong step; 0 where the task cannot tell */
  readonly falseSuccess: number;
}

/** `[tokens, greedy, sampled]` */
export type CurvePoint = readonly [tokens: number, greedy: number, sampled: number];

/** Sums over a run's iterations. */
export interface RunCounts {
  readonly failed: number;
  readonly withReference: number;
  readonly judged: number;
  readonly agreed: number;
  readonly repairsTried: number;
  readonly repairsVerified: number;
  /** of the verified ones, those that the filter believed */
  readonly repairsAccepted: number;
}

export interface LoopConfig extends TrainConfig {
  /** generated tokens between two evaluations, about */
  readonly evaluateEvery: number;
  /** iterations between two checkpoints; every evaluation has one too */
  readonly checkpointEvery: number;
}

/** Where a loop is between two iterations, the policy apart. */
export interface LoopState {
  readonly train: TrainState;
  readonly curve: readonly CurvePoint[];
  readonly counts: RunCounts;
  /** steps of the optimizer */
  readonly updates: number;
}

/** What a listener hears; the loop waits for it. */
export interface LoopEvents {
  evaluated(point: CurvePoint): void | Promise<void>;
  iterated(iteration: Iteration): void | Promise<void>;
  /** `score` where the policy was evaluated as it is, the larger the better. The state's arrays are live. */
  checkpoint?(state: LoopState, score: number | undefined): void | Promise<void>;
}

export interface LoopOptions {
  /** of an earlier loop with this configuration, whose policy this is: it goes on to the same end */
  readonly from?: LoopState;
  /** the policy's accuracy as it begins, where it is known already */
  readonly start?: Accuracy;
  /** ends the loop after the iteration at hand, with a checkpoint */
  readonly signal?: AbortSignal;
}

export interface LoopResult {
  readonly curve: readonly CurvePoint[];
  readonly counts: RunCounts;
  readonly tokens: number;
  readonly updates: number;
  /** training in this process, without evaluation */
  readonly seconds: number;
  /** whether it ended because the signal said so */
  readonly stopped: boolean;
}

const nothing: RunCounts = {
  failed: 0,
  withReference: 0,
  judged: 0,
  agreed: 0,
  repairsTried: 0,
  repairsVerified: 0,
  repairsAccepted: 0,
};

/** Trains until the budget is spent. Without held-out problems nothing is evaluated. */
export async function runLoop(
  policy: TransformerPolicy,
  task: Task,
  heldOut: readonly Problem[],
  config: LoopConfig,
  events: LoopEvents,
  { from, start, signal }: LoopOptions = {},
): Promise<LoopResult> {
  const curve: CurvePoint[] = [...(from?.curve ?? [])];
  let counts = from?.counts ?? nothing;
  let tokens = from?.train.tokens ?? 0;
  let updates = from?.updates ?? 0;
  let seconds = 0;
  const evaluateNow = async (): Promise<void> => {
    const { greedy, sampled } = await accuracyOf(policy, task, heldOut);
    const point: CurvePoint = [tokens, greedy, sampled];
    curve.push(point);
    await events.evaluated(point);
  };
  if (from === undefined && start !== undefined) curve.push([0, start.greedy, start.sampled]);
  else if (from === undefined && heldOut.length > 0) await evaluateNow();

  for await (const iteration of train(policy, task, config, from?.train)) {
    const { metrics, last } = iteration;
    const spent = metrics.tokens - tokens;
    ({ tokens, updates } = metrics);
    counts = added(counts, metrics);
    seconds += Object.values(metrics.seconds).reduce((sum, phase) => sum + phase, 0);
    await events.iterated(iteration);
    // Before the next iteration would take the gap past `evaluateEvery`.
    const due = last || tokens - (curve.at(-1)?.[0] ?? 0) + spent / 2 >= config.evaluateEvery;
    const evaluated = due && heldOut.length > 0;
    if (evaluated) await evaluateNow();
    const stopped = signal?.aborted === true;
    if (due || stopped || metrics.iteration % config.checkpointEvery === 0) {
      const state = { train: iteration.state(), curve: [...curve], counts, updates };
      await events.checkpoint?.(state, evaluated ? curve.at(-1)?.[2] : undefined);
    }
    if (stopped && !last) return { curve, counts, tokens, updates, seconds, stopped };
  }
  return { curve, counts, tokens, updates, seconds, stopped: false };
}

function added(counts: RunCounts, { identify, correct }: IterationMetrics): RunCounts {
  return {
    failed: counts.failed + identify.failed,
    withReference: counts.withReference + identify.withReference,
    judged: counts.judged + identify.judged,
    agreed: counts.agreed + identify.agreed,
    repairsTried: counts.repairsTried + correct.repair.tried,
    repairsVerified: counts.repairsVerified + correct.repair.verified,
    repairsAccepted: counts.repairsAccepted + correct.repair.accepted,
  };
}

/** Greedy, and sampled at temperature 1. */
export async function accuracyOf(
  policy: TransformerPolicy,
  task: Task,
  problems: readonly Problem[],
): Promise<Accuracy> {
  const greedy = await evaluate(task, problems, policy.sampler({ seed: 1, temperature: 0 }));
  const sampled = await evaluate(task, problems, policy.sampler({ seed: 1, temperature: 1 }));
  // What was read for the evaluation must not be at hand for the next rollouts: a run that goes on from here has not read it.
  policy.changed();
  return { greedy: greedy.accuracy, sampled: sampled.accuracy, falseSuccess: sampled.falseSuccess ?? 0 };
}
