/** A policy before reinforcement, supervised on a noisy demonstrator: of chain arithmetic in tokens, or of problems in text. */

import { packSequences, type Batch } from "../batch.ts";
import { AdamW } from "../optimizer.ts";
import { normals } from "../policies/transformer-start.ts";
import { TransformerPolicy, type TransformerConfig, type TransformerOptions } from "../policies/transformer.ts";
import { deriveSeed, Random } from "../random.ts";
import { supervisedStep } from "../supervised.ts";
import type { ChainArithmetic } from "../tasks/chain-arithmetic.ts";
import { repairSequence, type Problem, type RepairFormat } from "../trajectory/index.ts";

export interface WarmStartConfig {
  readonly seed: number;
  /** noisy demonstrations */
  readonly demonstrations: number;
  /** probability that the demonstrator forgets to wrap around */
  readonly slip: number;
  /**
   * how repairs are taught, on pairs of demonstrations of one problem:
   * `verified`: the first failed and the second passed by the outcome check, which takes the answer;
   * `hindsight`: the two end differently, whoever is right; the second is a repair for the problem whose answer is its end;
   * `none`: not
   */
  readonly repairData: RepairData;
  /** pairs */
  readonly repairs: number;
  /** share of the hindsight pairs whose first demonstration is not shown */
  readonly blanked: number;
  readonly steps: number;
  /** demonstrations per step */
  readonly batch: number;
  /** repair pairs, or critiques, per step that has some */
  readonly repairBatch: number;
  /** steps from one that has repair pairs to the next */
  readonly repairEvery: number;
  /** peak learning rate, reached after `warmUp` steps; falls on a cosine to a tenth */
  readonly lr: number;
  readonly warmUp: number;
}

export const repairData = ["verified", "hindsight", "none"] as const;
export type RepairData = (typeof repairData)[number];

const common = { demonstrations: 8000, slip: 0.9, batch: 64, lr: 4e-3, warmUp: 30 };
const verified = { ...common, repairs: 3000, blanked: 0, steps: 1200, repairBatch: 32, repairEvery: 2 };

/** The rest of a warm start, by how it teaches repairs. */
export const warmStartDefaults: Readonly<Record<RepairData, Omit<WarmStartConfig, "seed">>> = {
  verified: { ...verified, repairData: "verified" },
  none: { ...verified, repairData: "none" },
  hindsight: {
    ...common,
    repairData: "hindsight",
    repairs: 16_000,
    blanked: 0.5,
    steps: 1600,
    repairBatch: 64,
    repairEvery: 1,
  },
};

export interface Example {
  readonly tokens: readonly number[];
  /** the first token to learn */
  readonly from: number;
}

interface RepairFields {
  readonly warmStartRepairs: RepairData;
  readonly warmStartBlanked: number;
}

/** Of pairs chosen by outcome none are blanked: what they teach is to correct what is shown. */
const blankedShare = ({ warmStartRepairs, warmStartBlanked }: RepairFields): number =>
  warmStartRepairs === "hindsight" ? warmStartBlanked : 0;

/** The warm start that a configuration asks for. */
export function warmStartOf(
  config: RepairFields & {
    readonly warmStartSteps: number;
    readonly warmStartSlip: number;
    readonly warmStartSeed: number;
  },
): WarmStartConfig {
  const { warmStartRepairs, warmStartSteps: steps, warmStartSlip: slip, warmStartSeed: seed } = config;
  return { ...warmStartDefaults[warmStartRepairs], blanked: blankedShare(config), steps, slip, seed };
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

/** Hears of every step and its mean loss per token of the demonstrations and repairs, in nats. */
export type StepListener = (step: number, loss: number) => void | Promise<void>;

/** Trains in place on demonstrations and repairs. */
export async function warmStart(
  policy: TransformerPolicy,
  task: ChainArithmetic,
  config: WarmStartConfig,
  onStep: StepListener,
): Promise<void> {
  const random = new Random(deriveSeed(config.seed, "warm start"));
  const demonstrations = Array.from({ length: config.demonstrations }, () => demonstration(task, config.slip, random));
  const lessons: RepairLessons = {
    ...task,
    demonstrate: (problem, next) => task.demonstrate(problem, config.slip, next),
    passes: (problem, completion) => task.verify(problem, completion) === 1,
  };
  const repairs = repairExamples(lessons, config, random);
  await learn(policy, demonstrations, repairs, random, config, onStep);
}

/** What `warmStart` has besides: how it goes through examples. */
export type LearningConfig = Pick<
  WarmStartConfig,
  "seed" | "steps" | "batch" | "repairBatch" | "repairEvery" | "lr" | "warmUp"
>;

export const demonstrationDefaults: Omit<LearningConfig, "seed"> & { readonly demonstrations: number } = {
  demonstrations: 8000,
  steps: 1200,
  batch: 32,
  repairBatch: 32,
  repairEvery: 1,
  lr: 4e-3,
  warmUp: 30,
};

/** The pairs that teach repairs beside the demonstrations of `warmStartOn`: as many as chain arithmetic has. */
export function repairPairsOf(config: RepairFields): PairConfig {
  const { repairData, repairs } = warmStartDefaults[config.warmStartRepairs];
  return { repairData, repairs, blanked: blankedShare(config) };
}

/**
 * Trains in place on so many demonstrations, and on repairs and critiques where there are some, that are made at its beginning,
 * drawn again and again.
 */
export async function warmStartOn(
  policy: TransformerPolicy,
  lessons: {
    readonly demonstrate: (random: () => number) => Example;
    /** repairs and critiques */
    readonly others: (random: Random) => readonly Example[];
  },
  config: LearningConfig & { readonly demonstrations: number },
  onStep: StepListener,
): Promise<void> {
  const random = new Random(deriveSeed(config.seed, "warm start"));
  const demonstrations = Array.from({ length: config.demonstrations }, () => lessons.demonstrate(random.next));
  await learn(policy, demonstrations, lessons.others(random), random, config, onStep);
}

async function learn(
  policy: TransformerPolicy,
  demonstrations: readonly Example[],
  repairs: readonly Example[],
  random: Random,
  config: LearningConfig,
  onStep: StepListener,
): Promise<void> {
  const optimizer = new AdamW({ lr: config.lr, beta1: 0.9, beta2: 0.99, maxGradNorm: 1 });
  const draw = (from: readonly Example[], count: number): Example[] =>
    Array.from({ length: count }, () => from[random.below(from.length)]);
  for (let step = 1; step <= config.steps; step++) {
    optimizer.lr = rate(config, step);
    const parts = [draw(demonstrations, config.batch)];
    if (step % config.repairEvery === 0 && repairs.length > 0) parts.push(draw(repairs, config.repairBatch));
    const loss = supervisedStep(policy, optimizer, packParts(parts));
    await onStep(step, loss / parts.length);
  }
}

/** Linear warm-up, then a cosine to a tenth of the peak. */
function rate({ lr, warmUp, steps }: LearningConfig, step: number): number {
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

/** What pairs of attempts that teach repairs are made of. */
export interface RepairLessons {
  /** a new problem; `random` is uniform in [0, 1) */
  problem(random: () => number): Problem;
  /** an attempt by the noisy demonstrator */
  demonstrate(problem: Problem, random: () => number): number[];
  /** by the outcome alone */
  passes(problem: Problem, completion: readonly number[]): boolean;
  /** The problem with the answer that a completion ends with, whatever it is; null: it ends with none. */
  hindsight(problem: Problem, completion: readonly number[]): Problem | null;
  /** in the place of a failed completion: none is shown */
  readonly blank: readonly number[];
  readonly repair: RepairFormat;
}

export type PairConfig = Pick<WarmStartConfig, "repairData" | "repairs" | "blanked">;

/** Attempts at pairs after which it is clear that the demonstrator never writes two that differ. */
const patience = 1000;

/** @throws RangeError where the demonstrator's attempts make no pairs, as one who never slips */
export function repairExamples(lessons: RepairLessons, config: PairConfig, random: Random): Example[] {
  const { repairData: kind, repairs, blanked } = config;
  const examples: Example[] = [];
  for (let tried = 0; kind !== "none" && examples.length < repairs; tried++) {
    if (tried === patience && examples.length === 0) {
      throw new RangeError(`warmStart: expected attempts that make ${kind} pairs, received none in ${patience} tries`);
    }
    const problem = lessons.problem(random.next);
    const first = lessons.demonstrate(problem, random.next);
    const second = lessons.demonstrate(problem, random.next);
    const example =
      kind === "verified"
        ? verifiedPair(lessons, problem, first, second)
        : hindsightPair(lessons, problem, first, second);
    if (example === null) continue;
    const { failed, repaired, of } = example;
    const shown = blanked > 0 && random.next() < blanked ? lessons.blank : failed;
    const sequence = repairSequence(lessons.repair, of, shown, repaired);
    if (sequence !== null) examples.push(sequence);
  }
  return examples;
}

interface Pair {
  readonly of: Problem;
  readonly failed: readonly number[];
  readonly repaired: readonly number[];
}

/** Extra information: which of two attempts passed is known from the answer. */
function verifiedPair(lessons: RepairLessons, of: Problem, first: number[], second: number[]): Pair | null {
  const passes = lessons.passes(of, first);
  if (passes === lessons.passes(of, second)) return null;
  const [failed, repaired] = passes ? [second, first] : [first, second];
  return { of, failed, repaired };
}

/** Nothing is known of the truth: the second attempt is right for whatever it ends with. */
function hindsightPair(lessons: RepairLessons, problem: Problem, failed: number[], repaired: number[]): Pair | null {
  const of = lessons.hindsight(problem, repaired);
  return of === null || lessons.hindsight(problem, failed)?.answer === of.answer ? null : { of, failed, repaired };
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
