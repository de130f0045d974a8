/**
 * Long multiplication: a product for every digit of the second factor that is not 0, then their sum.
 *
 *   prompt   347*206:
 *   steps    347*6=2082        products, each digit with its zeros, in any order
 *            347*200=69400
 *            2082+69400=71482  sums of two numbers that are still there, until one is left; sums and products may mix
 *   answer   the number that is left
 *
 * Slip: a forgotten carry.
 */

import type { TextProblem } from "../text.ts";
import { between, endsIn, lastInteger, proceduralTask, promptParts, type ProceduralTask } from "./procedural-task.ts";
import { parseOperation, resultOf, slippedResult, type Operation } from "./written-arithmetic.ts";

interface Level {
  /** of the two factors */
  readonly digits: readonly [number, number];
}

const level = (first: number, second: number) => {
  const all = first + second;
  return {
    digits: [first, second] as const,
    says: `${first} digits times ${second}`,
    promptLength: all + 2,
    // A product: factors, result, two signs and a line feed. A sum: three numbers and as much.
    solutionLength: second * (first + second + all + 3) + (second - 1) * (3 * (all + 1) + 3),
  };
};

const factorsOf = (problem: TextProblem): readonly bigint[] =>
  promptParts("multiplication", problem, /^(\d+)\*(\d+):$/).map(BigInt);

/** The digits of a number that are not 0, each with its zeros, the lowest first. */
function digitsOf(value: bigint): bigint[] {
  return Array.from(String(value))
    .reverse()
    .flatMap((digit, place) => (digit === "0" ? [] : [BigInt(digit) * 10n ** BigInt(place)]));
}

/** Takes one occurrence out; false where there is none. */
function takeOut(numbers: bigint[], value: bigint): boolean {
  const at = numbers.indexOf(value);
  if (at >= 0) numbers.splice(at, 1);
  return at >= 0;
}

export const multiplication: ProceduralTask = proceduralTask<Level>({
  name: "multiplication",
  alphabet: "0123456789+*=:\n",
  levels: [level(2, 1), level(2, 2), level(3, 2), level(3, 3), level(4, 4), level(6, 6)],

  draw(random, { digits }) {
    const [first, second] = digits.map((count) => BigInt(between(random, 10 ** (count - 1), 10 ** count - 1)));
    return { prompt: `${first}*${second}:`, answer: String(first * second) };
  },

  solve(problem, slips) {
    const [first, second] = factorsOf(problem);
    const lines: string[] = [];
    const work = (operation: Operation): bigint => {
      const slipped = slippedResult(operation);
      const result = slipped !== undefined && slips() ? slipped : (resultOf(operation) ?? 0n);
      lines.push(`${operation.left}${operation.sign}${operation.right}=${result}`);
      return result;
    };
    digitsOf(second)
      .map((digit) => work({ left: first, sign: "*", right: digit }))
      .reduce((sum, product) => work({ left: sum, sign: "+", right: product }));
    return lines;
  },

  checker(problem) {
    const [first, second] = factorsOf(problem);
    const digits = digitsOf(second);
    const numbers: bigint[] = [];
    return {
      takes(line) {
        const written = parseOperation(line);
        if (written === undefined || written.result !== resultOf(written)) return false;
        const { left, sign, right, result } = written;
        const follows =
          sign === "*"
            ? (left === first && takeOut(digits, right)) || (right === first && takeOut(digits, left))
            : sign === "+" && takeOut(numbers, left) && takeOut(numbers, right);
        numbers.push(result);
        return follows;
      },
      done: () => digits.length === 0 && numbers.length === 1,
    };
  },

  answers: endsIn,
  ending: lastInteger,
});
