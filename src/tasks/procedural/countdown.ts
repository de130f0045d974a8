/**
 * Countdown: a target from all of the given numbers, each used once.
 *
 *   prompt   3,25,8=83:
 *   steps    3*25=75       an operation on two numbers that are still there, whose result takes their place
 *            75+8=83       … until one is left
 *            83=3*25+8     the target and an expression of the given numbers
 *   answer   an expression; any other of the same numbers and the same value is right too
 *
 * Divisions leave no remainder. An operation that leads nowhere is no wrong step: what is wrong then is the last line. The
 * outcome reads the expression, so that no claim of a result counts.
 *
 * Slip: a sign is written wrongly (+ and - for one another, + for *, - for /) with the result of the right one, and once more in
 * the last line.
 */

import type { TextProblem } from "../text.ts";
import { numbersOf, parseExpression, sorted, valueOf, writeExpression, type Expression } from "./expression.ts";
import { between, oneOf, proceduralTask, promptParts, type ProceduralTask } from "./procedural-task.ts";
import { parseOperation, resultOf, type Operation, type Sign } from "./written-arithmetic.ts";

interface Level {
  readonly numbers: number;
  readonly largest: number;
}

const largestTarget = 999n;
const largestBetween = 9999n;

const level = (numbers: number, largest: number) => {
  const digits = String(largest).length;
  return {
    numbers,
    largest,
    says: `${numbers} numbers to ${largest}, targets to ${largestTarget}`,
    promptLength: numbers * (digits + 1) + 4,
    solutionLength: (numbers - 1) * 18 + 4 + numbers * (digits + 3),
  };
};

/** A number that is there, and what it was made of. */
interface Entry {
  readonly value: bigint;
  readonly made: Expression;
}

function partsOf(problem: TextProblem): { numbers: bigint[]; target: bigint } {
  const [numbers, target] = promptParts("countdown", problem, /^(\d+(?:,\d+)*)=(\d+):$/);
  return { numbers: numbers.split(",").map(BigInt), target: BigInt(target) };
}

/** The operations on two numbers that a solution may want: none by 1, none that gives 0 or less. */
function operationsOn(a: bigint, b: bigint): Operation[] {
  const [left, right] = a >= b ? [a, b] : [b, a];
  const signs: Sign[] = ["+"];
  if (left > right) signs.push("-");
  if (right > 1n && left * right <= largestBetween) signs.push("*");
  if (right > 1n && left % right === 0n) signs.push("/");
  return signs.map((sign) => ({ left, sign, right }));
}

/** The pair's numbers replaced by a result. */
function combine(entries: readonly Entry[], i: number, j: number, { sign }: Operation, value: bigint): Entry[] {
  const [left, right] = entries[i].value >= entries[j].value ? [entries[i], entries[j]] : [entries[j], entries[i]];
  const rest = entries.filter((_, k) => k !== i && k !== j);
  return [...rest, { value, made: { sign, left: left.made, right: right.made } }];
}

const mistaken: Readonly<Record<Sign, Sign>> = { "+": "-", "-": "+", "*": "+", "/": "-" };

/** Writes the operations of an expression, inner ones first; gives its value, and the expression with the signs as written. */
function work(expression: Expression, slips: () => boolean, lines: string[]): Entry {
  if ("value" in expression) return { value: expression.value, made: expression };
  const left = work(expression.left, slips, lines);
  const right = work(expression.right, slips, lines);
  const value = resultOf({ left: left.value, sign: expression.sign, right: right.value }) ?? 0n;
  const sign = slips() ? mistaken[expression.sign] : expression.sign;
  lines.push(`${left.value}${sign}${right.value}=${value}`);
  return { value, made: { sign, left: left.made, right: right.made } };
}

/** An expression that solves a problem. */
function solutionOf(answer: unknown): Expression {
  const known = typeof answer === "string" ? parseExpression(answer) : undefined;
  if (known === undefined || valueOf(known) === undefined) {
    throw new RangeError(`countdown: expected an expression in the answer, received ${JSON.stringify(answer)}`);
  }
  return known;
}

/** `target=expression`, with an expression of these numbers, each once, that has the value of the target. */
function claims(line: string, numbers: readonly bigint[], target: bigint | undefined): boolean {
  const [, written, text] = /^(\d+)=([^=]+)$/.exec(line) ?? [];
  const expression = text === undefined ? undefined : parseExpression(text);
  return (
    expression !== undefined &&
    BigInt(written) === target &&
    valueOf(expression) === target &&
    numbersOf(expression).join() === sorted(numbers).join()
  );
}

export const countdown: ProceduralTask = proceduralTask<Level>({
  name: "countdown",
  alphabet: "0123456789+-*/()=,:\n",
  levels: [level(3, 9), level(3, 25), level(4, 25), level(5, 50), level(6, 100)],

  draw(random, { numbers: count, largest }) {
    const numbers = Array.from({ length: count }, () => BigInt(between(random, 1, largest)));
    for (;;) {
      let entries: readonly Entry[] = numbers.map((value) => ({ value, made: { value } }));
      while (entries.length > 1) {
        const i = between(random, 0, entries.length - 2);
        const j = between(random, i + 1, entries.length - 1);
        const operation = oneOf(random, operationsOn(entries[i].value, entries[j].value));
        entries = combine(entries, i, j, operation, resultOf(operation) ?? 0n);
      }
      const [{ value, made }] = entries;
      if (value <= largestTarget) return { prompt: `${numbers.join()}=${value}:`, answer: writeExpression(made) };
    }
  },

  solve(problem, slips) {
    const lines: string[] = [];
    const { made } = work(solutionOf(problem.answer), slips, lines);
    return [...lines, `${partsOf(problem).target}=${writeExpression(made)}`];
  },

  checker(problem) {
    const { numbers: given, target } = partsOf(problem);
    const numbers = [...given];
    let finished = false;
    return {
      takes(line) {
        if (numbers.length === 1) {
          finished = claims(line, given, target);
          return finished;
        }
        const written = parseOperation(line);
        if (written === undefined || written.result !== resultOf(written)) return false;
        for (const operand of [written.left, written.right]) {
          const at = numbers.indexOf(operand);
          if (at < 0) return false;
          numbers.splice(at, 1);
        }
        numbers.push(written.result);
        return true;
      },
      done: () => finished,
    };
  },

  answers(line, answer) {
    const known = solutionOf(answer);
    return claims(line, numbersOf(known), valueOf(known));
  },
});
