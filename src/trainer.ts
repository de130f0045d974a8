/** The training loop: problems to trees, outcomes to credit, credit to a better policy. */

import { Curriculum, type CurriculumConfig, type CurriculumState } from "./curriculum.ts";
import { gather } from "./gather.ts";
import { AdamW, type AdamWState } from "./optimizer.ts";
import type { Policy } from "./policy.ts";
import { deriveSeed, Random } from "./random.ts";
import type { Task } from "./tasks/task.ts";
import {
  completionOf,
  grpo,
  identify,
  isRollout,
  path,
  succeeded,
  supervise,
  type CorrectReport,
  type CreditRule,
  type SearchConfig,
  type Supervision,
  type Tree,
} from "./trajectory/index.ts";
import { update, type UpdateMetrics } from "./update.ts";

export interface TrainConfig {
  readonly seed: number;
  /** the most to generate: rollouts, repairs and continuations all count */
  readonly budgetTokens: number;
  /** P */
  readonly problemsPerIteration: number;
  /** G */
  readonly groupSize: number;
  /** of rollouts */
  readonly temperature: number;
  readonly rule: CreditRule;
  /** ask the policy to repair where the task says so */
  readonly repair: boolean;
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
}

export interface IdentifyMetrics {
  /** failed rollouts */
  readonly failed: number;
  /** of these, with a verified reference */
  readonly withReference: number;
  /** with a reference, where the task can tell the first wrong step */
  readonly judged: number;
  /** of these, the blamed step is the first wrong one */
  readonly agreed: number;
  /** references by source */
  readonly sources: Readonly<Record<string, number>>;
}

export interface IterationMetrics {
  readonly iteration: number;
  /** generated since training began, this iteration included */
  readonly tokens: number;
  /** generated in this iteration, by phase */
  readonly rolloutTokens: number;
  readonly repairTokens: number;
  readonly searchTokens: number;
  /** steps of the optimizer since training began */
  readonly updates: number;
  /** share of rollouts that succeeded, of replaced groups too */
  readonly accuracy: number;
  /** share of groups without a success, replaced ones among them */
  readonly groupsWithoutSuccess: number;
  /** share of groups in which every rollout succeeded, replaced ones among them */
  readonly groupsWithoutFailure: number;
  /** groups that others took the place of because all of their outcomes were alike */
  readonly resampled: number;
  readonly identify: IdentifyMetrics;
  readonly correct: CorrectReport;
  /** share of the negative credit that lies on true first errors; undefined where the task cannot tell or there is none */
  readonly creditOnFirstErrors: number | undefined;
  readonly update: UpdateMetrics;
  /** wall time by phase */
  readonly seconds: { readonly rollout: number; readonly correct: number; readonly update: number };
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
}

export interface Iteration {
  readonly metrics: IterationMetrics;
  readonly trees: readonly Tree[];
  readonly supervisions: readonly Supervision[];
  /** whether what is left of the budget pays for no other iteration */
  readonly last: boolean;
  /** The state after this iteration, until the next one begins. The optimizer's arrays are its own, not copies. */
  state(): TrainState;
}

/**
 * Trains while the budget pays for a quarter of an iteration at its dearest, one iteration per value. The last iterations are
 * smaller, so that the budget is never exceeded.
 *
 * @param from the state of an earlier run with this configuration, whose policy this is: it goes on to the same end
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
  const { repair, ...shape } = task;
  const correction = {
    ...shape,
    ...(config.repair && repair !== undefined && { repair }),
    ...(config.search !== undefined && { search: config.search }),
  };
  const rules = { rule: config.rule, advantage: (outcomes: Float64Array) => grpo({ outcomes, eps: 1e-4 }) };
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
    const supervisions = trees.map((tree) => supervise(tree, rules));
    const updated = update(policy, optimizer, trees, supervisions, config, shuffle.next);
    clock.lap("update");

    tokens += rolloutTokens + correct.repair.tokens + correct.search.tokens;
    const sampled = [...trees, ...replaced];
    const metrics = {
      iteration,
      tokens,
      rolloutTokens,
      repairTokens: correct.repair.tokens,
      searchTokens: correct.search.tokens,
      updates: optimizer.steps,
      ...outcomes(sampled),
      resampled: replaced.length,
      identify: identification(task, sampled),
      correct,
      creditOnFirstErrors: creditOnFirstErrors(task, trees, supervisions),
      update: updated,
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
    });
    yield { metrics, trees, supervisions, last: problemsFor(iteration + 1) === 0, state };
  }
}

/** The most that one problem can cost: all of its rollouts fail, and every way to correct them is tried to its end. */
function mostTokens(task: Task, config: TrainConfig): number {
  const { maxTokens, repair } = task;
  const { groupSize, search } = config;
  let perRollout = maxTokens;
  if (config.repair && repair !== undefined) perRollout += (repair.perLeaf ?? 1) * (repair.maxTokens ?? maxTokens);
  if (search !== undefined) {
    // A step has at least a token; probes halve or double what they keep.
    const probes = Math.min(search.maxProbes ?? Infinity, Math.ceil(Math.log2(maxTokens)) + 1);
    perRollout += probes * (search.samples ?? 1) * maxTokens;
  }
  return groupSize * perRollout;
}

function stopwatch() {
  const seconds = { rollout: 0, correct: 0, update: 0 };
  let last = 0;
  return {
    start() {
      seconds.rollout = seconds.correct = seconds.update = 0;
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

function outcomes(
  trees: readonly Tree[],
): Pick<IterationMetrics, "accuracy" | "groupsWithoutSuccess" | "groupsWithoutFailure"> {
  let rollouts = 0;
  let successes = 0;
  let allWrong = 0;
  let allRight = 0;
  for (const tree of trees) {
    const members = tree.leaves.filter(isRollout);
    const succeededHere = members.filter((leaf) => succeeded(leaf)).length;
    rollouts += members.length;
    successes += succeededHere;
    if (succeededHere === 0) allWrong++;
    if (succeededHere === members.length) allRight++;
  }
  return {
    accuracy: successes / rollouts,
    groupsWithoutSuccess: allWrong / trees.length,
    groupsWithoutFailure: allRight / trees.length,
  };
}

/** What `identify` finds in trees, held against the truth where the task knows it. */
export function identification(task: Task, trees: readonly Tree[]): IdentifyMetrics {
  const counts = { failed: 0, withReference: 0, judged: 0, agreed: 0 };
  const sources: Record<string, number> = {};
  for (const tree of trees) {
    identify(tree).forEach((found, index) => {
      const leaf = tree.leaves[index];
      if (!isRollout(leaf) || succeeded(leaf)) return;
      counts.failed++;
      if (found.reference < 0 || found.source === undefined) return;
      counts.withReference++;
      sources[found.source] = (sources[found.source] ?? 0) + 1;
      if (task.firstWrongStep === undefined) return;
      counts.judged++;
      if (task.firstWrongStep(tree.problem, completionOf(tree, index)) === found.firstError) counts.agreed++;
    });
  }
  return { ...counts, sources };
}

/** Of Σ |negative credit| over tokens, the share on steps that are the first wrong one of a rollout through them. */
function creditOnFirstErrors(
  task: Task,
  trees: readonly Tree[],
  supervisions: readonly Supervision[],
): number | undefined {
  if (task.firstWrongStep === undefined) return undefined;
  let all = 0;
  let placed = 0;
  trees.forEach((tree, p) => {
    const wrong = new Set<number>();
    tree.leaves.forEach((leaf, index) => {
      const step = task.firstWrongStep?.(tree.problem, completionOf(tree, index)) ?? -1;
      if (isRollout(leaf) && step >= 0) wrong.add(path(tree, leaf.step)[step]);
    });
    const { credits, rowOf } = supervisions[p];
    rowOf.forEach((rows, node) => {
      for (const row of rows) {
        if (row < 0) continue;
        all -= credits[row].negative;
        if (wrong.has(node)) placed -= credits[row].negative;
      }
    });
  });
  return all === 0 ? undefined : placed / all;
}
