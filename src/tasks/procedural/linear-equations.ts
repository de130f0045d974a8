/**
 * An equation with one unknown, x, whose solution is an integer.
 *
 *   prompt   3x+5=2x-7:
 *   steps    3x-2x=-7-5    an equation in x with the one solution of the line before; terms, numbers and products k(…)
 *            x=-12
 *   answer   x: the last line is x=N
 *
 * A line is right whatever was done to get there, so a step may be large or small. A fraction x=p/q may stand in the last line.
 * Slip: a term that changes sides keeps its sign.
 */

import type { TextProblem } from "../text.ts";
import { between, proceduralTask, promptParts, type ProceduralTask } from "./procedural-task.ts";

/** x · unknown + constant */
interface Linear {
  readonly x: bigint;
  readonly constant: bigint;
}

interface Equation {
  readonly left: Linear;
  readonly right: Linear;
}

const maxDepth = 50;
const maxLength = 500;
/** before a bracket */
const maxFactor = 9;

const scaled = ({ x, constant }: Linear, by: bigint): Linear => ({ x: by * x, constant: by * constant });
const added = (a: Linear, b: Linear): Linear => ({ x: a.x + b.x, constant: a.constant + b.constant });

/** Reads a side of an equation; undefined where it is none. */
function parseSide(text: string): Linear | undefined {
  let at = 0;
  const sum = (depth: number): Linear | undefined => {
    let total: Linear = { x: 0n, constant: 0n };
    for (let first = true; first || text[at] === "+" || text[at] === "-"; first = false) {
      const negative = text[at] === "-";
      if (negative || text[at] === "+") at++;
      const next = term(depth);
      if (next === undefined) return undefined;
      total = added(total, scaled(next, negative ? -1n : 1n));
    }
    return total;
  };
  const term = (depth: number): Linear | undefined => {
    const digits = /^\d*/.exec(text.slice(at))?.[0] ?? "";
    at += digits.length;
    const factor = digits === "" ? 1n : BigInt(digits);
    if (text[at] === "x") {
      at++;
      return { x: factor, constant: 0n };
    }
    if (text[at] !== "(") return digits === "" ? undefined : { x: 0n, constant: factor };
    at++;
    const inner = depth < maxDepth ? sum(depth + 1) : undefined;
    return inner === undefined || text[at++] !== ")" ? undefined : scaled(inner, factor);
  };
  const side = sum(0);
  return at === text.length ? side : undefined;
}

function parseEquation(text: string): Equation | undefined {
  const sides = text.length > maxLength ? [] : text.split("=");
  const [left, right] = sides.map(parseSide);
  return sides.length === 2 && left !== undefined && right !== undefined ? { left, right } : undefined;
}

/** An equation as a · x = b. */
const reduced = ({ left, right }: Equation): readonly [a: bigint, b: bigint] => [
  left.x - right.x,
  right.constant - left.constant,
];

const finalPattern = /^x=(-?\d+)(?:\/(\d+))?$/;

/** a · x = b of a line; undefined where it is no equation. */
function parseLine(line: string): readonly [a: bigint, b: bigint] | undefined {
  const final = finalPattern.exec(line);
  if (final !== null) return [BigInt(final[2] ?? 1), BigInt(final[1])];
  const equation = parseEquation(line);
  return equation && reduced(equation);
}

/** `3x+5`, with no term that is 0 but a lone one. */
function writeSide(terms: readonly Linear[]): string {
  const texts = terms.flatMap(({ x, constant }) => [
    ...(x === 0n ? [] : [x === 1n ? "x" : x === -1n ? "-x" : `${x}x`]),
    ...(constant === 0n ? [] : [String(constant)]),
  ]);
  const text = texts.map((term, i) => (i === 0 || term.startsWith("-") ? term : `+${term}`)).join("");
  return text === "" ? "0" : text;
}

interface Level {
  /** of the coefficients and numbers, and of the solution */
  readonly largest: number;
  readonly form: "one" | "both" | "terms" | "brackets";
}

const forms = {
  one: "ax+b=c",
  both: "ax+b=cx+d",
  terms: "ax+b+cx+d=ex+f",
  brackets: "k(ax+b)+c=dx+e",
} as const;

/** Characters of an integer up to `largest` with its sign. */
const width = (largest: number): number => String(largest).length + 1;

const level = (form: Level["form"], largest: number) => {
  // The largest coefficient and number that the left side can have, collected, and the last number.
  const x = { one: 1, both: 1, terms: 2, brackets: maxFactor }[form] * largest;
  const number = x + (form === "brackets" ? largest : 0);
  const last = (x + largest) * largest + number;
  const [single, collected] = [width(largest), width(x) + 1 + width(number)];
  const right = single + 1 + width(last);
  const written = { one: 2 * single + 1, both: 2 * single + 1, terms: 4 * single + 2, brackets: 3 * single + 4 }[form];
  const moved = width(x) + single + 2 + width(last) + width(number);
  const ends = width(x + largest) + width(last + number) + 2;
  return {
    form,
    largest,
    says: `${forms[form]}, coefficients, numbers and solution to ${largest} either side of 0, the last number as it comes`,
    promptLength: written + right + 2,
    solutionLength: collected + right + moved + 2 * ends + 4,
  };
};

function equationOf(problem: TextProblem): Equation & { readonly written: string } {
  const [written] = promptParts("linear-equations", problem, /^(.+):$/);
  const equation = parseEquation(written);
  if (equation === undefined) {
    throw new RangeError(`linear-equations: expected an equation, received ${JSON.stringify(problem.prompt)}`);
  }
  return { ...equation, written };
}

const unknown = (x: bigint): Linear => ({ x, constant: 0n });
const number = (constant: bigint): Linear => ({ x: 0n, constant });

export const linearEquations: ProceduralTask = proceduralTask<Level>({
  name: "linear-equations",
  alphabet: "0123456789x+-/()=:\n",
  levels: [level("one", 9), level("both", 9), level("both", 99), level("terms", 20), level("brackets", 12)],

  draw(random, { form, largest }) {
    const draw = (): bigint => BigInt(between(random, 1, largest) * (random() < 0.5 ? -1 : 1));
    const solution = BigInt(between(random, -largest, largest));
    for (;;) {
      const [a, b, c, d] = [draw(), draw(), draw(), draw()];
      const factor = BigInt(between(random, 2, maxFactor));
      const bracket = { x: a, constant: b };
      const left: readonly Linear[] = {
        one: [bracket],
        both: [bracket],
        terms: [bracket, { x: c, constant: d }],
        brackets: [scaled(bracket, factor), number(c)],
      }[form].filter(({ x, constant }) => x !== 0n || constant !== 0n);
      const sum = left.reduce(added);
      const x = form === "one" ? 0n : form === "both" ? c : draw();
      // What is left of x must not vanish, or every number would solve the equation, or none.
      if (sum.x === x || sum.x === 0n) continue;
      const constant = (sum.x - x) * solution + sum.constant;
      const written = form === "brackets" ? `${factor}(${writeSide([bracket])})${signed(c)}` : writeSide(left);
      return { prompt: `${written}=${writeSide([{ x, constant }])}:`, answer: String(solution) };
    }
  },

  solve(problem, slips) {
    const { left, right, written } = equationOf(problem);
    const lines = [written];
    const write = (line: string): void => {
      if (line !== lines.at(-1)) lines.push(line);
    };
    write(`${writeSide([left])}=${writeSide([right])}`);
    // Kept as it is, a term that is the other one's opposite would leave no x.
    const movedX = right.x !== 0n && left.x + right.x !== 0n && slips() ? right.x : -right.x;
    const moved = left.constant !== 0n && slips() ? left.constant : -left.constant;
    const [x, constant] = [left.x + movedX, right.constant + moved];
    if (right.x !== 0n || left.constant !== 0n) {
      write(`${writeSide([unknown(left.x), unknown(movedX)])}=${writeSide([number(right.constant), number(moved)])}`);
    }
    write(`${writeSide([unknown(x)])}=${constant}`);
    const [p, q] = x < 0n ? [-constant, -x] : [constant, x];
    write(p % q === 0n ? `x=${p / q}` : `x=${p}/${q}`);
    return lines.slice(1);
  },

  checker(problem) {
    const [a, b] = reduced(equationOf(problem));
    let finished = false;
    return {
      takes(line) {
        const next = parseLine(line);
        if (next === undefined || next[0] === 0n || a * next[1] !== next[0] * b) return false;
        finished = finalPattern.test(line);
        return true;
      },
      done: () => finished,
    };
  },

  answers(line, answer) {
    const final = finalPattern.exec(line);
    if (final === null) return false;
    const [, p, q = "1"] = final;
    return BigInt(q) !== 0n && BigInt(p) === BigInt(answer) * BigInt(q);
  },
  // A fraction is no answer that a problem has.
  ending: (line) => /^x=(-?\d+)$/.exec(line)?.[1] ?? null,
});

function signed(value: bigint): string {
  return value < 0n ? String(value) : `+${value}`;
}
