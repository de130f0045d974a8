/**
 * A row of letters of which two change places, again and again.
 *
 *   prompt   cab;1-2;1-3:
 *   step     1-2=acb        the next swap, its places in either order, and the row after it
 *   answer   the last row
 *
 * Slip: of two places that are not neighbours, the right one is taken one too far to the left.
 */

import type { TextProblem } from "../text.ts";
import { shuffle } from "../../random.ts";
import { between, proceduralTask, promptParts, type ProceduralTask } from "./procedural-task.ts";

interface Level {
  readonly letters: number;
  readonly swaps: number;
}

const alphabet = "abcdefghi";

const level = (letters: number, swaps: number) => ({
  letters,
  swaps,
  says: `${letters} letters, ${swaps} swaps`,
  promptLength: letters + 4 * swaps + 1,
  solutionLength: swaps * (letters + 5),
});

/** Places from 1, the smaller first. */
type Swap = readonly [number, number];

function swapped(row: string, [i, j]: Swap): string {
  const letters = Array.from(row);
  [letters[i - 1], letters[j - 1]] = [letters[j - 1], letters[i - 1]];
  return letters.join("");
}

function partsOf(problem: TextProblem): { row: string; swaps: readonly Swap[] } {
  const [row, swaps] = promptParts("swaps", problem, /^([a-i]+)((?:;[1-9]-[1-9])+):$/);
  const pairs = swaps
    .slice(1)
    .split(";")
    .map((text): Swap => [Number(text[0]), Number(text[2])]);
  return { row, swaps: pairs };
}

export const swaps: ProceduralTask = proceduralTask<Level>({
  name: "swaps",
  alphabet: `${alphabet}123456789-=;:\n`,
  levels: [level(3, 3), level(4, 5), level(5, 8), level(7, 12), level(9, 20)],

  draw(random, { letters, swaps: count }) {
    const row = shuffle(Array.from(alphabet.slice(0, letters)), random).join("");
    const pairs = Array.from({ length: count }, (): Swap => {
      const i = between(random, 1, letters - 1);
      return [i, between(random, i + 1, letters)];
    });
    const prompt = `${row}${pairs.map(([i, j]) => `;${i}-${j}`).join("")}:`;
    return { prompt, answer: pairs.reduce(swapped, row) };
  },

  solve(problem, slips) {
    const { row, swaps: pairs } = partsOf(problem);
    let now = row;
    return pairs.map(([i, j]) => {
      now = swapped(now, j - i > 1 && slips() ? [i, j - 1] : [i, j]);
      return `${i}-${j}=${now}`;
    });
  },

  checker(problem) {
    const { row, swaps: pairs } = partsOf(problem);
    let now = row;
    let step = 0;
    return {
      takes(line) {
        const [i, j] = pairs[step];
        now = swapped(now, pairs[step]);
        step++;
        return line === `${i}-${j}=${now}` || line === `${j}-${i}=${now}`;
      },
      done: () => step === pairs.length,
    };
  },

  answers: (line, answer) => line.endsWith(`=${answer}`),
  ending: (line) => /=([a-i]+)$/.exec(line)?.[1] ?? null,
});
