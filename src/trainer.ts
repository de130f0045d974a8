/** The training loop: problems to trees, outcomes to credit, credit to a better policy. */

import { creditTrees, monteCarloDefaults, type CreditConfig } from "./crediting.ts";
import { Curriculum, type CurriculumConfig, type CurriculumState } from "./curriculum.ts";
import { gather, tokensOf } from "./gather.ts";
import { creditOnFirstErrors, identification, outcomes, type IterationMetrics } from "./iteration-metrics.ts";
import { AdamW, type AdamWState } from "./optimizer.ts";
import type { Policy } from "./policy.ts";
import { deriveSeed, Random } from "./random.ts";
import { RunReference, type ReferenceState } from "./reference.ts";
import { repairFilter, type RepairBelief } from "./repair-belief.ts";
import { noReplay, Replay, type ReplayConfig, type ReplayProgress } from "./replay.ts";
import type { Task } from "./tasks/task.ts";
import {
  isRollout,
  measuredGate,
  openGate,
  succeeded,
  type CorrectConfig,
  type GateState,
  type MeasuredGateOptions,
  type RepairExperience,
  type RepairReport,
  type SearchConfig,
  type Supervision,
  type Tree,
} from "./trajectory/index.ts";
import { update, type KlPenalty } from "./update.ts";

export interface TrainConfig extends CreditConfig, RepairBelief {
  readonly seed: number;
  /** the most to generate: rollouts, repairs and continuations all count */
  readonly budgetTokens: number;
  /** P */
  readonly problemsPerIteration: number;
  /** G */
  readonly groupSize: number;
  /** of rollouts */
  readonly temperature: number;
  /** rollouts per group besides `groupSize`, that begin before the most surprising steps of the others; default none */
  readonly branches?: number;
  /** ask the policy to repair where the task says so */
  readonly repair: boolean;
  /** failed solutions asked for a repair per group; default as the task says */
  readonly repairsPerGroup?: number;
  /** ask for repairs only while they pay; default always */
  readonly repairGate?: MeasuredGateOptions;
  /** supervised steps on verified solutions; default none */
  readonly replay?: ReplayConfig;
  /** ask the policy for the first wrong step where the task says how, and continue before it; default no */
  readonly critique?: boolean;
  /** sample continuations where no reference was found otherwise; default no */
  readonly search?: SearchConfig;
  /** draw problems of a list by their measured success rate; default: as the task gives them */
  readonly curriculum?: CurriculumConfig;
  /**
   * How often, at most, groups whose outcomes are all alike and that have no correction are replaced by groups of other
   * problems; default 0. Their tokens count, and no more are drawn than the budget pays for.
   */
  readonly resampleRounds?: number;
  readonly lr: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly maxGradNorm: number;
  /** passes over the trees of an iteration */
  readonly epochs: number;
  readonly rowsPerBatch: number;
  /** as in `UpdateConfig` */
  readonly positionsPerPass?: number;
  readonly epsLow: number;
  readonly epsHigh: number;
  /** as in `UpdateConfig`, to the policy as it is when training begins; default none: there is no reference */
  readonly kl?: KlPenalty;
  /** iterations after which the policy, as it then is, becomes the reference; default 0: never */
  readonly referenceEvery?: number;
}

/** Where a run is between two iterations, besides the policy's parameters: what it takes to go on to the same end. */
export interface TrainState {
  readonly iteration: number;
  /** generated so far */
  readonly tokens: number;
  /** problems drawn so far */
  readonly drawn: number;
  /** of the generator that draws problems */
  readonly problems: number;
  /** of the generator that shuffles trees */
  readonly shuffle: number;
  /** requests that the sampler has answered */
  readonly answered: number;
  /** where there is a curriculum */
  readonly curriculum?: CurriculumState;
  readonly optimizer: AdamWState;
  readonly gate: GateState;
  /** where the configuration has one */
  readonly replay?: ReplayProgress;
  /** where the configuration has a KL penalty */
  readonly reference?: ReferenceState;
}

export interface Iteration {
  readonly metrics: IterationMetrics;
  readonly trees: readonly Tree[];
  readonly supervisions: readonly Supervision[];
  /** whether what is left of the budget pays for no other iteration */
  readonly last: boolean;
  /** The state after this iteration, until the next one begins. The optimizer's arrays and the reference's are not copies. */
  state(): TrainState;
}

/**
 * Trains while the budget pays for a quarter of an iteration at its dearest, one iteration per value. The last iterations are
 * smaller, so that the budget is never exceeded.
 *
 * @param from the state of an earlier run with this configuration, whose policy this is: it goes on to the same end. Of a
 *   reference in it the array is taken over, as those of the optimizer are.
 */
export async function* train(
  policy: Policy,
  task: Task,
  config: TrainConfig,
  from?: TrainState,
): AsyncGenerator<Iteration> {
  const problems = new Random(from?.problems ?? deriveSeed(config.seed, "problems"));
  const shuffle = new Random(from?.shuffle ?? deriveSeed(config.seed, "shuffle"));
  const sampler = policy.sampler({
    seed: deriveSeed(config.seed, "sample"),
    temperature: config.temperature,
    answered: from?.answered ?? 0,
  });
  const optimizer = new AdamW(config);
  if (from !== undefined) optimizer.restore(from.optimizer);
  const curriculum = config.curriculum && new Curriculum(task, config.curriculum, from?.curriculum);
  const { repair: asks, critique, ...shape } = task;
  const repair = config.repair ? asks : undefined;
  const gate = config.repairGate === undefined ? openGate(from?.gate) : measuredGate(config.repairGate, from?.gate);
  const replay =
    config.replay && new Replay({ ...config, ...config.replay }, task, deriveSeed(config.seed, "replay"), from?.replay);
  const reference = config.kl && referenceOfRun(policy, config, from);
  const filter = repairFilter(policy, config);
  const correction = (): CorrectConfig => ({
    ...shape,
    ...(repair && {
      repair: {
        ...repair,
        most: gate.allowance(),
        ...(config.repairsPerGroup !== undefined && { maxLeaves: config.repairsPerGroup }),
        ...(filter && { filter }),
      },
    }),
    ...(config.critique === true && critique && { critique }),
    ...(config.search !== undefined && { search: config.search }),
  });
  const clock = stopwatch();
  let { tokens, drawn } = from ?? { tokens: 0, drawn: 0 };
  const perProblem = mostTokens(task, config);
  const problemsFor = (iteration: number): number => {
    const affordable = Math.floor((config.budgetTokens - tokens) / perProblem);
    // A handful of problems makes a noisy step that undoes more than it adds.
    const least = iteration === 1 ? 1 : config.problemsPerIteration / 4;
    return affordable < least ? 0 : Math.min(config.problemsPerIteration, affordable);
  };

  for (let iteration = (from?.iteration ?? 0) + 1; problemsFor(iteration) > 0; iteration++) {
    clock.start();
    const { trees, replaced, rolloutTokens, correct } = await gather(task, sampler, {
      problems: problemsFor(iteration),
      groupSize: config.groupSize,
      branches: config.branches ?? 0,
      correct: correction,
      rounds: config.resampleRounds ?? 0,
      affordable: (spent) => Math.floor((config.budgetTokens - tokens - spent) / perProblem),
      draw: () => {
        const index = drawn++;
        return curriculum?.draw(problems.next) ?? task.problem(problems.next, index);
      },
      ...(curriculum !== undefined && { measured: (measured: readonly Tree[]) => curriculum.measure(measured) }),
      lap: clock.lap,
    });
    curriculum?.next();
    const { supervisions, tokens: valueTokens } = await creditTrees(trees, sampler, task, config);
    clock.lap("credit");
    const updated = update(policy, optimizer, trees, supervisions, config, shuffle.next, reference?.current);
    const replayed = replay?.train(policy, trees) ?? noReplay;
    reference?.after(iteration);
    clock.lap("update");
    gate.observe(
      repairExperience(
        [...trees, ...replaced],
        correct.repair,
        config.groupSize + (config.branches ?? 0),
        rolloutTokens,
      ),
    );

    tokens += rolloutTokens + tokensOf(correct) + valueTokens;
    const sampled = [...trees, ...replaced];
    const metrics = {
      iteration,
      problems: trees.length,
      tokens,
      rolloutTokens,
      repairTokens: correct.repair.tokens,
      critiqueTokens: correct.critique.tokens,
      searchTokens: correct.search.tokens,
      valueTokens,
      updates: optimizer.steps + (replay?.steps ?? 0),
      ...outcomes(sampled),
      resampled: replaced.length,
      identify: identification(task, sampled),
      correct,
      creditOnFirstErrors: creditOnFirstErrors(task, trees, supervisions),
      update: updated,
      replay: replayed,
      seconds: clock.read(),
    };
    const state = (): TrainState => ({
      iteration,
      tokens,
      drawn,
      problems: problems.state,
      shuffle: shuffle.state,
      answered: sampler.answered,
      ...(curriculum !== undefined && { curriculum: curriculum.state }),
      optimizer: optimizer.state,
      gate: gate.state,
      ...(replay && { replay: replay.state }),
      ...(reference && { reference: reference.state }),
    });
    yield { metrics, trees, supervisions, last: problemsFor(iteration + 1) === 0, state };
  }
}

function referenceOfRun(policy: Policy, { referenceEvery = 0 }: TrainConfig, from?: TrainState): RunReference {
  if (from !== undefined && from.reference === undefined) {
    throw new TypeError("train: expected a state with the reference that kl was measured against, received none");
  }
  return new RunReference(policy, referenceEvery, from?.reference);
}

/** The most that one problem can cost: all of its rollouts fail, and every way to correct them is tried to its end. */
function mostTokens(task: Task, config: TrainConfig): number {
  const { maxTokens, repair } = task;
  const { groupSize, search, repairsPerGroup, rule, monteCarlo = monteCarloDefaults, branches = 0 } = config;
  let perRollout = maxTokens;
  if (config.repair && repair !== undefined) {
    const asked = Math.min(groupSize, repairsPerGroup ?? repair.maxLeaves ?? groupSize) / groupSize;
    perRollout += asked * (repair.perLeaf ?? 1) * (repair.maxTokens ?? maxTokens);
  }
  if (config.critique === true && task.critique !== undefined) {
    perRollout += task.critique.maxTokens + (task.critique.samples ?? 1) * maxTokens;
  }
  if (search !== undefined) {
    // A step has at least a token; probes halve or double what they keep.
    const probes = Math.min(search.maxProbes ?? Infinity, Math.ceil(Math.log2(maxTokens)) + 1);
    perRollout += probes * (search.samples ?? 1) * maxTokens;
  }
  if (rule === "monteCarlo") {
    // A boundary after each token, and all that is left to write behind it.
    perRollout += (monteCarlo.samples * maxTokens * (maxTokens - 1)) / (2 * monteCarlo.every);
  }
  return (groupSize + branches) * perRollout;
}

function repairExperience(
  trees: readonly Tree[],
  { tried, accepted, tokens }: RepairReport,
  groupSize: number,
  rolloutTokens: number,
): RepairExperience {
  const successes = trees.map(({ leaves }) => leaves.filter((leaf) => isRollout(leaf) && succeeded(leaf)).length);
  return {
    tried,
    accepted,
    tokens,
    groupsWithoutSuccess: successes.filter((count) => count === 0).length,
    groupsWithOneSuccess: successes.filter((count) => count === 1).length,
    groupSize,
    tokensPerRollout: rolloutTokens / (trees.length * groupSize),
  };
}

function stopwatch() {
  const seconds = { rollout: 0, correct: 0, credit: 0, update: 0 };
  let last = 0;
  return {
    start() {
      seconds.rollout = seconds.correct = seconds.credit = seconds.update = 0;
      last = performance.now();
    },
    lap(phase: keyof typeof seconds) {
      const now = performance.now();
      seconds[phase] += (now - last) / 1000;
      last = now;
    },
    read: () => ({ ...seconds }),
  };
}
