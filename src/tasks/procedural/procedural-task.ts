/**
 * Problems in words that a program makes, solves and judges step by step. A prompt ends with a colon; a solution is one step
 * per line in the format of its task, and its last line gives the answer. White space inside a line means nothing, so that
 * the same text can be written in characters or in words between spaces.
 */

import type { TextProblem } from "../text.ts";

export interface ProceduralLevel {
  /** operands and lengths, in words and numbers */
  readonly says: string;
  /** no prompt has more characters */
  readonly promptLength: number;
  /** no demonstration has more characters, a noisy one included */
  readonly solutionLength: number;
}

export interface ProceduralTask {
  readonly name: string;
  /** levels of difficulty, the easiest first; the first is level 1 */
  readonly levels: readonly ProceduralLevel[];
  /** every character of its prompts and solutions, the line feed among them */
  readonly alphabet: string;
  /**
   * A new problem; equal prompts have equal ids, different ones different ids.
   * @param random uniform in [0, 1)
   * @param level 1 … levels.length; RangeError otherwise
   */
  problem(random: () => number, level: number): TextProblem;
  /**
   * A worked solution.
   * @param random uniform in [0, 1)
   * @param noise probability of the task's own slip wherever it can be made; the demonstrator goes on from what it wrote.
   *   Default 0: the solution is right
   * @throws RangeError of a problem that is not this task's
   */
  demonstrate(problem: TextProblem, random: () => number, noise?: number): string;
  /** The answer that a solution ends with, whether it is right or not; null: none. Left out where a prompt holds its answer. */
  ending?(solution: string): string | null;
  /**
   * Index of the first line that does not follow from the problem and the lines before it, −1: none. A solution that ends
   * too early is wrong at the line that is missing. Blank lines are no steps, but for one before the first step, which is a
   * wrong one, as `tokenLines` cuts it.
   */
  firstWrongStep(problem: TextProblem, solution: string): number;
  /** Judges by the last line alone, whatever lies before it. */
  readonly verifier: { verify(solution: string, answer: unknown): number };
}

/** Takes one line of a solution after the other. */
export interface StepChecker {
  /** Whether a line, without white space, follows from those taken before. Not asked again after a line that does not. */
  takes(line: string): boolean;
  /** whether the lines taken so far are a whole solution */
  done(): boolean;
}

interface Rules<Level> {
  readonly name: string;
  readonly alphabet: string;
  readonly levels: readonly (Level & ProceduralLevel)[];
  draw(random: () => number, level: Level): { readonly prompt: string; readonly answer: string };
  /** The lines of a solution; `slips` is true with the probability of the noise. */
  solve(problem: TextProblem, slips: () => boolean, random: () => number): readonly string[];
  checker(problem: TextProblem): StepChecker;
  /** Whether the last line, without white space, gives the answer. */
  answers(line: string, answer: string): boolean;
  /** The answer that a last line, without white space, gives; null: none. Left out where a prompt holds its answer. */
  ending?(line: string): string | null;
}

/** A task of the rules that are its own. */
export function proceduralTask<Level>(rules: Rules<Level>): ProceduralTask {
  const { name, alphabet, levels } = rules;
  return {
    name,
    alphabet,
    levels,
    problem(random, level) {
      const known = levels[level - 1];
      if (known === undefined) {
        throw new RangeError(`${name}: expected a level in 1 … ${levels.length}, received ${level}`);
      }
      const { prompt, answer } = rules.draw(random, known);
      return { id: `${name} ${prompt}`, prompt, answer };
    },
    demonstrate(problem, random, noise = 0) {
      if (!(noise >= 0 && noise <= 1)) throw new RangeError(`${name}: expected noise in 0 … 1, received ${noise}`);
      return rules.solve(problem, () => noise > 0 && random() < noise, random).join("\n");
    },
    ...(rules.ending !== undefined && {
      ending: (solution: string) => rules.ending?.(stepLines(solution).at(-1) ?? "") ?? null,
    }),
    firstWrongStep(problem, solution) {
      const checker = rules.checker(problem);
      const lines = stepLines(solution);
      const wrong = lines.findIndex((line) => checker.done() || !checker.takes(line));
      if (wrong >= 0) return wrong;
      return checker.done() ? -1 : lines.length;
    },
    verifier: {
      verify(solution, answer) {
        if (typeof answer !== "string") {
          throw new TypeError(`${name}: expected answer to be a text, received ${JSON.stringify(answer)}`);
        }
        const last = stepLines(solution).at(-1);
        return last !== undefined && rules.answers(last, answer) ? 1 : 0;
      },
    },
  };
}

/** Lines without their white space; blank ones are left out after the first. */
function stepLines(solution: string): string[] {
  return solution
    .split("\n")
    .map((line) => line.replaceAll(/\s/g, ""))
    .filter((line, i) => line !== "" || (i === 0 && solution !== ""));
}

/** The parts of a prompt. */
export function promptParts(name: string, problem: TextProblem, pattern: RegExp): readonly string[] {
  const parts = pattern.exec(problem.prompt);
  if (parts === null) {
    throw new RangeError(`${name}: expected a prompt of this task, received ${JSON.stringify(problem.prompt)}`);
  }
  return parts.slice(1);
}

/** An integer from `least` to `most`, both included. */
export function between(random: () => number, least: number, most: number): number {
  return least + Math.floor(random() * (most - least + 1));
}

export function oneOf<T>(random: () => number, items: readonly T[]): T {
  return items[Math.floor(random() * items.length)];
}

/** Whether a line ends in `=` and this integer. */
export function endsIn(line: string, answer: string): boolean {
  const written = lastInteger(line);
  return written !== null && BigInt(written) === BigInt(answer);
}

/** The integer after the last `=` of a line, which ends with it; null: there is none. */
export const lastInteger = (line: string): string | null => /=(-?\d+)$/.exec(line)?.[1] ?? null;
