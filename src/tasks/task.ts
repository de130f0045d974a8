import type { CritiqueConfig, Problem, RepairConfig, Segmenter, Verifier } from "../trajectory/index.ts";

/** A kind of problem that a program makes and judges, with what training on it needs. */
export interface Task {
  readonly name: string;
  /** V: token ids are below it */
  readonly vocabulary: number;
  /** of a completion */
  readonly maxTokens: number;
  /** token ids that end a completion */
  readonly stop?: readonly number[];
  readonly segment: Segmenter;
  readonly verify: Verifier;
  /** problems in all, where a list has an end: `problem` gives each once for the indices below it, without chance */
  readonly count?: number;
  /**
   * A problem to train on.
   * @param random uniform in [0, 1)
   * @param index how many the run has asked for before, from which a list knows where it is
   */
  problem(random: () => number, index: number): Problem;
  /** Index of the first wrong step, −1: none. For reports alone; a task need not be able to tell. */
  readonly firstWrongStep?: (problem: Problem, completion: readonly number[]) => number;
  /** One score per step of a completion, of a checker that sees the steps: for comparisons with methods that do not. */
  readonly stepScores?: (problem: Problem, completion: readonly number[]) => readonly number[];
  /** How the policy is asked to repair a failed completion. */
  readonly repair?: RepairConfig;
  /** How the policy is asked for the first wrong step of a failed completion. */
  readonly critique?: CritiqueConfig;
  /** Tokens as a person reads them. */
  readonly write: (tokens: readonly number[]) => string;
}
