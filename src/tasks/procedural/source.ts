/** Problems of a level without end. */

import type { ProblemSource, TextProblem } from "../text.ts";
import type { ProceduralTask } from "./procedural-task.ts";

/** Draws in a row that may give nothing acceptable before a level is taken to have nothing left. */
const maxDraws = 2000;

/**
 * New problems of a level, of which some are not accepted, such as those that are held out.
 * @throws RangeError at a call that finds only such in 2000 draws
 */
export function proceduralSource(
  task: ProceduralTask,
  level: number,
  accepts: (problem: TextProblem) => boolean = () => true,
): ProblemSource {
  return (random) => {
    for (let draw = 0; draw < maxDraws; draw++) {
      const problem = task.problem(random, level);
      if (accepts(problem)) return problem;
    }
    throw new RangeError(`${task.name}: expected another problem of level ${level}, found none in ${maxDraws} draws`);
  };
}

/**
 * So many problems of a source, no two with the same id.
 * @throws RangeError where 2000 draws in a row, or the source itself, give no other
 */
export function distinctProblems(source: ProblemSource, count: number, random: () => number): TextProblem[] {
  const found = new Map<string, TextProblem>();
  for (let repeated = 0; found.size < count;) {
    const problem = source(random);
    repeated = found.has(problem.id) ? repeated + 1 : 0;
    found.set(problem.id, problem);
    if (repeated === maxDraws) {
      throw new RangeError(`distinctProblems: expected ${count} different problems, found ${found.size}`);
    }
  }
  return [...found.values()];
}
