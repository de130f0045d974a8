/**
 * Which problems of a list are trained on next, by what the policy makes of them: those that it has never tried first, then
 * by chance with the weight
 *
 *   w(p) = (p / t)^2t · ((1 − p) / (1 − t))^2(1 − t)
 *
 * of its success rate p, with the target t. This is exp(−2 KL(t ‖ p)) of two coins: 1 at p = t, 0 at 0 and 1, and 4 p (1 − p)
 * for t = ½, the variance of an outcome. The rate is measured as p = (s + ½) / (n + 1) from s successes of n solutions, so it
 * is never quite 0 or 1, and no problem is lost. What was measured before counts half as much at every new measurement,
 * because the policy has changed since.
 */

import { Random } from "./random.ts";
import type { Task } from "./tasks/task.ts";
import { isRollout, succeeded, type Problem, type Tree } from "./trajectory/index.ts";

export interface CurriculumConfig {
  /** t: success rate of the problems that are wanted most, between 0 and 1 */
  readonly target: number;
}

/** What was measured, by the order in which problems were first given. Doubles, which JSON keeps as they are. */
export interface CurriculumState {
  /** n of each problem */
  readonly tries: readonly number[];
  /** s of each problem */
  readonly successes: readonly number[];
}

/** of what was measured before, at every new measurement */
const memory = 0.5;

export function curriculumWeight(rate: number, target: number): number {
  return Math.pow(rate / target, 2 * target) * Math.pow((1 - rate) / (1 - target), 2 * (1 - target));
}

export class Curriculum {
  readonly #task: Task;
  readonly #count: number;
  readonly #target: number;
  readonly #problems: Problem[] = [];
  readonly #indexOf = new Map<Problem, number>();
  readonly #tries: number[] = [];
  readonly #successes: number[] = [];
  /** indices given in this iteration */
  readonly #taken = new Set<number>();

  /**
   * @param from the state of an earlier curriculum of this task
   * @throws RangeError of a target that is not between 0 and 1, and of a task whose problems have no end
   */
  constructor(task: Task, { target }: CurriculumConfig, from?: CurriculumState) {
    if (!(target > 0 && target < 1)) {
      throw new RangeError(`curriculum: expected a target between 0 and 1, received ${target}`);
    }
    if (task.count === undefined) {
      throw new RangeError(`curriculum: expected a task with a list of problems, ${task.name} makes them without end`);
    }
    this.#task = task;
    this.#count = task.count;
    this.#target = target;
    from?.tries.forEach((tries, index) => this.#add(tries, from.successes[index]));
  }

  /** A problem that this iteration has not had, unless it has had all. */
  draw(random: () => number): Problem {
    if (this.#taken.size === this.#count) this.#taken.clear();
    const unseen = this.#problems.length;
    const index = unseen < this.#count ? this.#add(0, 0) : this.#byWeight(random);
    this.#taken.add(index);
    return this.#problems[index];
  }

  /** Takes in the outcomes of groups; those that could not be verified do not count. */
  measure(trees: readonly Tree[]): void {
    for (const tree of trees) {
      const index = this.#indexOf.get(tree.problem);
      if (index === undefined) throw new Error(`curriculum: problem ${tree.problem.id} was not drawn here`);
      const judged = tree.leaves.filter((leaf) => isRollout(leaf) && Number.isFinite(leaf.outcome));
      const right = judged.filter((leaf) => succeeded(leaf)).length;
      this.#tries[index] = memory * this.#tries[index] + judged.length;
      this.#successes[index] = memory * this.#successes[index] + right;
    }
  }

  /** Ends an iteration: the next one may have the same problems. */
  next(): void {
    this.#taken.clear();
  }

  /** A copy. */
  get state(): CurriculumState {
    return { tries: [...this.#tries], successes: [...this.#successes] };
  }

  /** The next problem that was not given yet. */
  #add(tries: number, successes: number): number {
    const index = this.#problems.length;
    // Below `count` a list draws nothing.
    const problem = this.#task.problem(new Random(0).next, index);
    this.#problems.push(problem);
    this.#indexOf.set(problem, index);
    this.#tries.push(tries);
    this.#successes.push(successes);
    return index;
  }

  #byWeight(random: () => number): number {
    const weights = this.#problems.map((_, index) => {
      if (this.#taken.has(index)) return 0;
      return curriculumWeight((this.#successes[index] + 0.5) / (this.#tries[index] + 1), this.#target);
    });
    let left = random() * weights.reduce((sum, weight) => sum + weight, 0);
    let last = 0;
    for (const [index, weight] of weights.entries()) {
      if (weight === 0) continue;
      last = index;
      left -= weight;
      if (left < 0) break;
    }
    return last;
  }
}
