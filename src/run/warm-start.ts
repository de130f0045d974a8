/** A policy for chain arithmetic before reinforcement: supervised on a noisy demonstrator. */

import { packSequences, type Batch } from "../batch.ts";
import { AdamW } from "../optimizer.ts";
import { normals } from "../policies/transformer-start.ts";
import { TransformerPolicy, type TransformerConfig, type TransformerOptions } from "../policies/transformer.ts";
import { deriveSeed, Random } from "../random.ts";
import { supervisedStep } from "../supervised.ts";
import type { ChainArithmetic } from "../tasks/chain-arithmetic.ts";
import type { Problem } from "../trajectory/index.ts";

export interface WarmStartConfig {
  readonly seed: number;
  /** noisy demonstrations */
  readonly demonstrations: number;
  /** pairs of demonstrations of one problem, the first failed and the second passed by the outcome check */
  readonly repairs: number;
  /** probability that the demonstrator forgets to wrap around */
  readonly slip: number;
  readonly steps: number;
  /** demonstrations per step */
  readonly batch: number;
  /** repair pairs on every second step */
  readonly repairBatch: number;
  /** peak learning rate, reached after `warmUp` steps; falls on a cosine to a tenth */
  readonly lr: number;
  readonly warmUp: number;
}

export const warmStartDefaults: Omit<WarmStartConfig, "seed"> = {
  demonstrations: 8000,
  repairs: 3000,
  slip: 0.9,
  steps: 1200,
  batch: 64,
  repairBatch: 32,
  lr: 4e-3,
  warmUp: 30,
};

interface Example {
  readonly tokens: readonly number[];
  /** the first token to learn */
  readonly from: number;
}

/** A policy with a table of positions that begins with the task's. */
export function freshPolicy(
  task: ChainArithmetic,
  seed: number,
  size: Pick<TransformerConfig, "layers" | "hidden" | "heads" | "intermediate">,
  options?: TransformerOptions,
): TransformerPolicy {
  const random = new Random(deriveSeed(seed, "policy")).next;
  const { vocabulary, maxPositions } = task;
  const { layers, hidden, heads, intermediate } = size;
  return TransformerPolicy.create(
    { vocabulary, layers, hidden, heads, intermediate, maxPositions, positionTable: true },
    { random, positions: task.positions(hidden, normals(random)) },
    options,
  );
}

/** Trains in place; `onStep` hears of every step and its mean loss per token of the demonstrations and repairs, in nats. */
export async function warmStart(
  policy: TransformerPolicy,
  task: ChainArithmetic,
  config: WarmStartConfig,
  onStep: (step: number, loss: number) => void | Promise<void>,
): Promise<void> {
  const random = new Random(deriveSeed(config.seed, "warm start"));
  const demonstrations = Array.from({ length: config.demonstrations }, () => demonstration(task, config.slip, random));
  const repairs = repairExamples(task, config, random);
  const optimizer = new AdamW({ lr: config.lr, beta1: 0.9, beta2: 0.99, maxGradNorm: 1 });
  const draw = (from: readonly Example[], count: number): Example[] =>
    Array.from({ length: count }, () => from[random.below(from.length)]);
  for (let step = 1; step <= config.steps; step++) {
    optimizer.lr = rate(config, step);
    const parts = [draw(demonstrations, config.batch)];
    if (step % 2 === 0 && repairs.length > 0) parts.push(draw(repairs, config.repairBatch));
    const loss = supervisedStep(policy, optimizer, packParts(parts));
    await onStep(step, loss / parts.length);
  }
}

/** Linear warm-up, then a cosine to a tenth of the peak. */
function rate({ lr, warmUp, steps }: WarmStartConfig, step: number): number {
  if (step <= warmUp) return (lr * step) / warmUp;
  const progress = (step - warmUp) / Math.max(1, steps - warmUp);
  return lr * (0.1 + 0.45 * (1 + Math.cos(Math.PI * progress)));
}

function demonstration(task: ChainArithmetic, slip: number, random: Random): Example {
  const problem = task.problem(random.next);
  return {
    tokens: [...problem.prompt, ...task.demonstrate(problem, slip, random.next)],
    from: problem.prompt.length,
  };
}

/** Extra information: which of two attempts passed is known from the answer. */
function repairExamples(task: ChainArithmetic, { repairs, slip }: WarmStartConfig, random: Random): Example[] {
  const examples: Example[] = [];
  const passed = (problem: Problem, completion: readonly number[]): boolean => completion.at(-1) === problem.answer;
  while (examples.length < repairs) {
    const problem = task.problem(random.next);
    const [first, second] = [
      task.demonstrate(problem, slip, random.next),
      task.demonstrate(problem, slip, random.next),
    ];
    if (passed(problem, first) === passed(problem, second)) continue;
    const [failed, repaired] = passed(problem, first) ? [second, first] : [first, second];
    examples.push(task.repairSequence(problem, failed, repaired));
  }
  return examples;
}

/** One batch in which every part has its own mean over tokens. */
function packParts(parts: readonly (readonly Example[])[]): Batch {
  const examples = parts.flat();
  const batch = packSequences(
    examples.map(({ tokens }) => tokens),
    { from: examples.map(({ from }) => from) },
  );
  let n = 0;
  for (const part of parts) {
    const targets = part.reduce((sum, { tokens, from }) => sum + tokens.length - from, 0);
    batch.weights.fill(1 / targets, n, n + targets);
    n += targets;
  }
  return batch;
}
