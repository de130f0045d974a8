/**
 * Chain arithmetic modulo 97: a start value and a chain of operations; a solution copies each operation and writes the running
 * value after it. One token per value, so a wrong value is one wrong token, and an answer hit by luck is rare (1 in 97).
 *
 *   problem      a op₁ … op_N =
 *   completion   op₁ v₁ op₂ v₂ … op_N v_N             a step is an operation and its value
 *   repair       problem, failed completion, fix mark, completion; other formats below
 *
 * The outcome is 1 where the last value is right, whatever lies between. Every operation is a bijection, so a wrong value
 * stays wrong unless a second error makes up for it.
 */

import type { Problem, RepairConfig, RepairFormat } from "../trajectory/index.ts";
import { fixedTokens } from "../trajectory/index.ts";
import type { Task } from "./task.ts";

export const modulus = 97;

interface Operation {
  readonly sign: "+" | "-" | "*";
  readonly operand: number;
}

const operations: readonly Operation[] = [
  ...[3, 5, 7, 9].map((operand): Operation => ({ sign: "+", operand })),
  ...[3, 5, 7, 9].map((operand): Operation => ({ sign: "-", operand })),
  ...[2, 3, 4, 5].map((operand): Operation => ({ sign: "*", operand })),
];

const equalsToken = modulus + operations.length;
const fixToken = equalsToken + 1;

/** A result before it is reduced modulo 97. */
function unreduced(value: number, operation: number): number {
  const { sign, operand } = operations[operation];
  switch (sign) {
    case "+":
      return value + operand;
    case "-":
      return value - operand;
    case "*":
      return value * operand;
    default:
      return sign satisfies never;
  }
}

const reduced = (value: number): number => ((value % modulus) + modulus) % modulus;

/**
 * How a repair is written after the problem, the failed completion and the fix mark.
 *
 * - `forward`: as a completion.
 * - `hinted`: the answer, then a completion.
 * - `backward`: the answer v_N, then op_N v_(N−1) op_(N−1) v_(N−2) … until a value is that of the failed completion at the same
 *   place (or the start value): from there on the failed completion is kept.
 */
export type ChainRepairFormat = "forward" | "hinted" | "backward";

export const chainRepairFormats = ["forward", "hinted", "backward"] as const satisfies readonly ChainRepairFormat[];

export interface ChainArithmeticOptions {
  /** operations per problem; default 12 */
  readonly operations?: number;
  /** default forward */
  readonly repairFormat?: ChainRepairFormat;
}

export interface ChainArithmetic extends Task {
  /** A new problem; `random` is uniform in [0, 1). */
  problem(random: () => number): Problem;
  /** longest sequence: a problem, a failed completion, the mark, the answer where the format shows it, a repair */
  readonly maxPositions: number;
  /**
   * A solution by a demonstrator who forgets to wrap around: where the unreduced result leaves 0 … 96 it writes one too many
   * with probability `slip`, and goes on from there.
   */
  demonstrate(problem: Problem, slip: number, random: () => number): number[];
  readonly repair: RepairConfig;
  /** The problem with the end of a completion for its answer, whatever it is: what this completion would have been right for. */
  hindsight(problem: Problem, completion: readonly number[]): Problem;
  /** In the place of a failed completion: none is shown. */
  readonly blank: readonly number[];
  /**
   * A start for a table of absolute positions, `[maxPositions, hidden]`: the vector of a position is the sum of a vector for
   * its role, one for the role of the next position, and one each for the step that the two belong to, which the problem,
   * the completion and the repair share. Entries are normal with deviation 0.5. Nothing of it is fixed in training.
   */
  positions(hidden: number, normal: () => number): Float32Array;
}

export function chainArithmetic(options: ChainArithmeticOptions = {}): ChainArithmetic {
  const { operations: length = 12, repairFormat = "forward" } = options;
  if (!Number.isInteger(length) || length < 1) {
    throw new RangeError(`chainArithmetic: expected operations to be an integer ≥ 1, received ${length}`);
  }
  const promptLength = length + 2;
  const maxTokens = 2 * length;
  const operationsOf = (problem: Problem): readonly number[] =>
    problem.prompt.slice(1, 1 + length).map((token) => token - modulus);

  const firstWrongStep = (problem: Problem, completion: readonly number[]): number => {
    let value = problem.prompt[0];
    const chain = operationsOf(problem);
    for (let step = 0; step < length; step++) {
      const right = reduced(unreduced(value, chain[step]));
      if (completion[2 * step] !== chain[step] + modulus || completion[2 * step + 1] !== right) return step;
      value = right;
    }
    return -1;
  };

  /** 1 where a step follows from the one before it as it was written, else 0. */
  const stepScores = (problem: Problem, completion: readonly number[]): number[] => {
    const chain = operationsOf(problem);
    return Array.from({ length: Math.ceil(completion.length / 2) }, (_, step) => {
      const before = step === 0 ? problem.prompt[0] : completion[2 * step - 1];
      const right = reduced(unreduced(before, chain[step]));
      return completion[2 * step] === chain[step] + modulus && completion[2 * step + 1] === right ? 1 : 0;
    });
  };

  return {
    name: "chain-arithmetic",
    vocabulary: fixToken + 1,
    maxTokens,
    maxPositions: promptLength + maxTokens + (repairFormat === "forward" ? 1 : 2) + maxTokens,
    segment: fixedTokens(2),
    verify: (problem, completion) => (completion.length === maxTokens && completion.at(-1) === problem.answer ? 1 : 0),
    firstWrongStep,
    stepScores,
    repair: { ...repairFormats[repairFormat], only: "groups-without-success" },
    blank: Array<number>(maxTokens).fill(equalsToken),
    hindsight: (problem, completion) => ({ ...problem, answer: completion.at(-1) }),

    problem(random) {
      const start = Math.floor(random() * modulus);
      const chain = Array.from({ length }, () => Math.floor(random() * 3) * 4 + Math.floor(random() * 4));
      const answer = chain.reduce((value, operation) => reduced(unreduced(value, operation)), start);
      const prompt = [start, ...chain.map((operation) => operation + modulus), equalsToken];
      return { id: prompt.join(" "), prompt, answer };
    },

    demonstrate(problem, slip, random) {
      let value = problem.prompt[0];
      return operationsOf(problem).flatMap((operation) => {
        const result = unreduced(value, operation);
        const wraps = result < 0 || result >= modulus;
        value = reduced(wraps && random() < slip ? result + 1 : result);
        return [operation + modulus, value];
      });
    },

    positions(hidden, normal) {
      // Per position: its role, and the step it belongs to (0: none).
      const layout: { role: string; step: number }[] = [{ role: "start", step: 0 }];
      for (let step = 1; step <= length; step++) layout.push({ role: "operation", step });
      layout.push({ role: "equals", step: 0 });
      for (let step = 1; step <= length; step++) {
        layout.push({ role: "written operation", step }, { role: "written value", step });
      }
      layout.push({ role: "fix", step: 0 });
      if (repairFormat !== "forward") layout.push({ role: "hint", step: length });
      for (let index = 1; index <= length; index++) {
        const backward = repairFormat === "backward";
        const step = backward ? length + 1 - index : index;
        layout.push({ role: "repaired operation", step }, { role: "repaired value", step: backward ? step - 1 : step });
      }
      const vectors = new Map<string, Float32Array>();
      const vector = (name: string): Float32Array => {
        let known = vectors.get(name);
        if (known === undefined)
          vectors.set(name, (known = Float32Array.from({ length: hidden }, () => 0.5 * normal())));
        return known;
      };
      const table = new Float32Array(layout.length * hidden);
      layout.forEach(({ role, step }, position) => {
        const next = layout[position + 1] ?? { role: "end", step: 0 };
        const parts = [`role ${role}`, `next role ${next.role}`, `step ${step}`, `next step ${next.step}`].map(vector);
        for (let h = 0; h < hidden; h++) {
          table[position * hidden + h] = parts.reduce((sum, part) => sum + part[h], 0);
        }
      });
      return table;
    },

    write: (tokens) => tokens.map(writeToken).join(" "),
  };
}

const asked = (problem: Problem, failed: readonly number[]): number[] => [...problem.prompt, ...failed, fixToken];
const askedWithAnswer = (problem: Problem, failed: readonly number[]): number[] => [
  ...asked(problem, failed),
  Number(problem.answer),
];

const repairFormats: Readonly<Record<ChainRepairFormat, RepairFormat>> = {
  forward: { prompt: asked },
  hinted: { prompt: askedWithAnswer },
  backward: {
    prompt: askedWithAnswer,
    finished: (problem, failed, written) => joins(problem, failed, written),
    parse(problem, failed, written) {
      // Where more was written than up to the join, as by a sampler that cannot be asked.
      for (let end = 2; end <= written.length; end += 2) {
        const part = written.slice(0, end);
        if (joins(problem, failed, part)) return joined(problem, failed, part);
      }
      return null;
    },
    express(problem, _, repaired) {
      const values = [problem.prompt[0], ...repaired.filter((_token, t) => t % 2 === 1)];
      return Array.from({ length: repaired.length / 2 }, (_step, index) => {
        const step = repaired.length / 2 - index;
        return [repaired[2 * step - 2], values[step - 1]];
      }).flat();
    },
  },
};

/** Whether the last value of a backward repair is the one that the failed completion has there. */
function joins({ prompt }: Problem, failed: readonly number[], written: readonly number[]): boolean {
  if (written.length === 0 || written.length % 2 !== 0) return false;
  const step = (failed.length - written.length) / 2;
  return written[written.length - 1] === (step === 0 ? prompt[0] : failed[2 * step - 1]);
}

/** The failed completion up to the join, then what was written, turned around. */
function joined(problem: Problem, failed: readonly number[], written: readonly number[]): number[] {
  const kept = failed.slice(0, failed.length - written.length);
  const values = [Number(problem.answer), ...written.filter((_, t) => t % 2 === 1)];
  const steps = Array.from({ length: written.length / 2 }, (_, index) => [written[2 * index], values[index]]);
  return [...kept, ...steps.toReversed().flat()];
}

function writeToken(token: number): string {
  if (token < modulus) return String(token);
  if (token === equalsToken) return "=";
  if (token === fixToken) return "fix";
  const { sign, operand } = operations[token - modulus];
  return `${sign === "*" ? "×" : sign === "-" ? "−" : "+"}${operand}`;
}
