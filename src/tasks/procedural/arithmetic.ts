/**
 * A chain of operations on a running value, worked off from left to right.
 *
 *   prompt   17;+5;*3;-4:
 *   step     17+5=22         the running value, the next operation, the new value
 *   answer   the last value
 *
 * A product is only asked for where it stays below the level's bound. Slip: a forgotten carry or borrow.
 */

import {
  between,
  endsIn,
  lastInteger,
  oneOf,
  proceduralTask,
  promptParts,
  type ProceduralTask,
} from "./procedural-task.ts";
import { parseOperation, resultOf, slippedResult, type Operation, type Sign } from "./written-arithmetic.ts";

interface Level {
  readonly operations: number;
  /** of what is added and subtracted; factors are 2 … 9 */
  readonly largest: number;
  /** values have at most so many digits */
  readonly digits: number;
}

const level = (operations: number, largest: number, digits: number) => {
  const operand = String(largest).length;
  return {
    operations,
    largest,
    digits,
    says: `${operations} operations, operands to ${largest}, factors to 9, values of at most ${digits} digits`,
    promptLength: operand + operations * (2 + operand) + 1,
    solutionLength: operations * (2 * (digits + 1) + operand + 3),
  };
};

type Link = Omit<Operation, "left">;

const chainOf = (problem: Parameters<typeof promptParts>[1]): { start: bigint; links: readonly Link[] } => {
  const [start, chain] = promptParts("arithmetic", problem, /^(\d+)((?:;[-+*]\d+)+):$/);
  const links = chain
    .slice(1)
    .split(";")
    .map((text): Link => ({ sign: text[0] as Sign, right: BigInt(text.slice(1)) }));
  return { start: BigInt(start), links };
};

export const arithmetic: ProceduralTask = proceduralTask<Level>({
  name: "arithmetic",
  alphabet: "0123456789+-*=;:\n",
  levels: [level(3, 9, 2), level(5, 9, 3), level(8, 99, 4), level(12, 99, 6), level(20, 999, 9)],

  draw(random, { operations, largest, digits }) {
    const bound = 10n ** BigInt(digits);
    const fits = (value: bigint | undefined): value is bigint => value !== undefined && value > -bound && value < bound;
    const start = BigInt(between(random, 1, largest));
    let value = start;
    let prompt = String(start);
    for (let i = 0; i < operations; i++) {
      let sign: Sign = oneOf(random, ["+", "-", "*"] as const);
      let right = BigInt(sign === "*" ? between(random, 2, 9) : between(random, 1, largest));
      if (!fits(resultOf({ left: value, sign, right }))) {
        // Back towards 0.
        sign = value > 0n ? "-" : "+";
        right = BigInt(between(random, 1, largest));
      }
      value = resultOf({ left: value, sign, right }) ?? value;
      prompt += `;${sign}${right}`;
    }
    return { prompt: `${prompt}:`, answer: String(value) };
  },

  solve(problem, slips) {
    const { start, links } = chainOf(problem);
    let left = start;
    return links.map(({ sign, right }) => {
      const operation = { left, sign, right };
      const slipped = slippedResult(operation);
      const result = slipped !== undefined && slips() ? slipped : (resultOf(operation) ?? left);
      const line = `${left}${sign}${right}=${result}`;
      left = result;
      return line;
    });
  },

  checker(problem) {
    const { start, links } = chainOf(problem);
    let value = start;
    let step = 0;
    return {
      takes(line) {
        const written = parseOperation(line);
        const { sign, right } = links[step];
        if (written === undefined || written.left !== value) return false;
        if (written.sign !== sign || written.right !== right || written.result !== resultOf(written)) return false;
        value = written.result;
        step++;
        return true;
      },
      done: () => step === links.length,
    };
  },

  answers: endsIn,
  ending: lastInteger,
});
