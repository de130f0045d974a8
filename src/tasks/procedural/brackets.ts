/**
 * Which closing brackets a text still wants, by the stack of those that are open.
 *
 *   prompt   ([{}:
 *   steps    (=(       a character and the stack after it, the innermost last
 *            [=([
 *            {=([{
 *            }=([
 *            =])       the brackets that close what is open
 *   answer   these brackets
 *
 * (Whether a text is balanced would be guessed right half of the time.) Slip: an opening bracket like the innermost open one
 * is taken for already there.
 */

import type { TextProblem } from "../text.ts";
import { between, oneOf, proceduralTask, promptParts, type ProceduralTask } from "./procedural-task.ts";

const opening = "([{<";
const closing = ")]}>";

interface Level {
  readonly kinds: number;
  readonly length: number;
  readonly depth: number;
}

const level = (kinds: number, length: number, depth: number) => ({
  kinds,
  length,
  depth,
  says: `${kinds} kinds of brackets, ${length} characters, at most ${depth} open`,
  promptLength: length + 1,
  solutionLength: length * (depth + 3) + depth + 1,
});

const textOf = (problem: TextProblem): string => promptParts("brackets", problem, /^([()[\]{}<>]+):$/)[0];

const closers = (stack: string): string =>
  Array.from(stack)
    .reverse()
    .map((bracket) => closing[opening.indexOf(bracket)])
    .join("");

/** The stack after a character. */
const after = (stack: string, character: string): string =>
  opening.includes(character) ? stack + character : stack.slice(0, -1);

export const brackets: ProceduralTask = proceduralTask<Level>({
  name: "brackets",
  alphabet: "()[]{}<>=:\n",
  levels: [level(2, 6, 3), level(3, 10, 4), level(4, 16, 5), level(4, 24, 6), level(4, 40, 8)],

  draw(random, { kinds, length, depth }) {
    // As many are open in the end as the length allows: both are even, or both odd.
    const ends = Array.from({ length: depth }, (_, i) => i + 1).filter((open) => (length - open) % 2 === 0);
    const end = oneOf(random, ends);
    let stack = "";
    let text = "";
    for (let left = length - 1; left >= 0; left--) {
      const open = stack.length;
      const mayOpen = open < depth && open + 1 - end <= left;
      const mayClose = open > 0 && end - (open - 1) <= left;
      const opens = mayOpen && (!mayClose || random() < 0.5);
      const character = opens ? opening[between(random, 0, kinds - 1)] : closers(stack)[0];
      text += character;
      stack = after(stack, character);
    }
    return { prompt: `${text}:`, answer: closers(stack) };
  },

  solve(problem, slips) {
    let stack = "";
    const lines = Array.from(textOf(problem), (character) => {
      const slipped = opening.includes(character) && stack.endsWith(character) && slips();
      if (!slipped) stack = after(stack, character);
      return `${character}=${stack}`;
    });
    return [...lines, `=${closers(stack)}`];
  },

  checker(problem) {
    const text = textOf(problem);
    let stack = "";
    let step = 0;
    return {
      takes(line) {
        const next = step < text.length ? after(stack, text[step]) : "";
        if (line !== (step < text.length ? `${text[step]}=${next}` : `=${closers(stack)}`)) return false;
        stack = next;
        step++;
        return true;
      },
      done: () => step > text.length,
    };
  },

  answers: (line, answer) => line === `=${answer}`,
  ending: (line) => (line.startsWith("=") ? line.slice(1) : null),
});
