import { describe, expect, it } from "vitest";
import { normals } from "../../src/policies/transformer-start.ts";
import { chainArithmetic } from "../../src/tasks/chain-arithmetic.ts";
import { repairSequence, type Problem } from "../../src/trajectory/index.ts";
import { random } from "../support/random.ts";

/** Tokens as written: values 0 … 96, then + 3 5 7 9, − 3 5 7 9, × 2 3 4 5, =, fix. */
const [plus3, plus9, minus5, times2, equals, fix] = [97, 100, 102, 105, 109, 110];

const three = chainArithmetic({ operations: 3 });
// 90 + 9 = 99 = 2, 2 − 5 = −3 = 94, 94 · 2 = 188 = 91 (modulo 97)
const problem: Problem = { id: "a", prompt: [90, plus9, minus5, times2, equals], answer: 91 };
const solution = [plus9, 2, minus5, 94, times2, 91];
const verified = (completion: readonly number[]) => three.verify(problem, completion);
const firstWrongStep = (completion: readonly number[]) => three.firstWrongStep?.(problem, completion);

describe("chain arithmetic", () => {
  it("accepts the solution worked by hand, and a demonstrator who never slips writes it", () => {
    expect(verified(solution)).toBe(1);
    expect(firstWrongStep(solution)).toBe(-1);
    expect(three.demonstrate(problem, 0, () => 0)).toEqual(solution);
  });

  it("makes problems that are what they say, the same for the same seed", () => {
    const task = chainArithmetic();
    const draws = random(3);
    const again = random(3);
    const [starts, chosen] = [new Set<number>(), new Set<number>()];
    for (let round = 0; round < 300; round++) {
      const made = task.problem(draws);
      expect(task.problem(again)).toEqual(made);
      expect(made.prompt).toHaveLength(14);
      expect(made.prompt[13]).toBe(equals);
      starts.add(made.prompt[0]);
      made.prompt.slice(1, 13).forEach((token) => chosen.add(token));
      expect(task.demonstrate(made, 0, draws).at(-1)).toBe(made.answer);
      // Both generators have drawn equally often.
      task.demonstrate(made, 0, again);
    }
    expect([...chosen].toSorted((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, i) => 97 + i));
    expect(starts.size).toBeGreaterThan(80);
    expect(Math.max(...starts)).toBeLessThan(97);
  });

  it("asks of a solution only its length and its last value", () => {
    expect(verified([...solution.slice(0, 5), 90])).toBe(0);
    expect(verified(solution.slice(0, 5))).toBe(0);
    expect(verified([91])).toBe(0);
    expect(verified([])).toBe(0);
    expect(verified([0, 0, 0, 0, 0, 91])).toBe(1);
  });

  it("names the first wrong step: a wrong value, or another operation than the one asked for", () => {
    expect(firstWrongStep([plus9, 3, minus5, 95, times2, 93])).toBe(0);
    expect(firstWrongStep([plus9, 2, minus5, 93, times2, 91])).toBe(1);
    expect(firstWrongStep([plus9, 2, minus5, 94, plus9, 91])).toBe(2);
    expect(firstWrongStep(solution.slice(0, 4))).toBe(2);
  });

  it("takes two errors that make up for each other for a success, and tells them apart from one", () => {
    const falseSuccess = [plus9, 3, minus5, 94, times2, 91]; // 3 for 2, then 94 for 95
    expect(verified(falseSuccess)).toBe(1);
    expect(firstWrongStep(falseSuccess)).toBe(0);
  });

  it("has a demonstrator who at slip 1 errs by one exactly where the result wraps around", () => {
    const task = chainArithmetic();
    const draws = random(9);
    let wraps = 0;
    for (let round = 0; round < 50; round++) {
      const made = task.problem(draws);
      const written = task.demonstrate(made, 1, draws);
      let value = made.prompt[0];
      for (let step = 0; step < 12; step++) {
        const token = made.prompt[1 + step];
        expect(written[2 * step]).toBe(token);
        const operand = token < 105 ? [3, 5, 7, 9][(token - 97) % 4] : token - 103;
        const result = token < 101 ? value + operand : token < 105 ? value - operand : value * operand;
        const wrapped = result < 0 || result > 96;
        const expected = (((result + (wrapped ? 1 : 0)) % 97) + 97) % 97;
        expect(written[2 * step + 1]).toBe(expected);
        wraps += wrapped ? 1 : 0;
        value = expected;
      }
    }
    expect(wraps).toBeGreaterThan(100);
    const slips = Array.from({ length: 400 }, () => three.demonstrate(problem, 0.25, draws)[1]);
    expect(slips.filter((value) => value === 3).length / 400).toBeCloseTo(0.25, 1);
  });

  it("cuts steps of an operation and its value", () => {
    expect(three.segment(solution)).toEqual([0, 2, 4].map((start) => ({ start, end: start + 2 })));
  });

  it("asks for a repair with the problem, the failed completion and the mark", () => {
    const failed = [plus9, 3, minus5, 95, times2, 93];
    const prompt = [...problem.prompt, ...failed, fix];
    expect(three.repair?.prompt(problem, failed)).toEqual(prompt);
    expect(repairSequence(three.repair, problem, failed, solution)).toEqual({
      tokens: [...prompt, ...solution],
      from: 12,
    });
    expect(three.maxPositions).toBe(prompt.length + solution.length);
    expect(three.maxTokens).toBe(solution.length);
    expect(three.vocabulary).toBe(fix + 1);
  });

  describe("a backward repair", () => {
    const backward = chainArithmetic({ operations: 3, repairFormat: "backward" });
    const { prompt, parse, express, finished } = backward.repair;
    const failed = [plus9, 2, minus5, 95, times2, 93]; // 95 for 94

    it("is asked for with the answer, and written from there to the beginning", () => {
      expect(prompt(problem, failed)).toEqual([...problem.prompt, ...failed, fix, 91]);
      const written = [times2, 94, minus5, 2, plus9, 90];
      expect(express?.(problem, failed, solution)).toEqual(written);
      expect(backward.maxPositions).toBe(problem.prompt.length + 2 * solution.length + 2);
    });

    it("ends where it meets the failed attempt, whose steps up to there are kept", () => {
      const written = [times2, 94, minus5, 2, plus9, 90];
      const ends = written.map((_, t) => finished?.(problem, failed, written.slice(0, t + 1)));
      expect(ends).toEqual([false, false, false, true, false, true]);
      expect(parse?.(problem, failed, written.slice(0, 4))).toEqual(solution);
      expect(parse?.(problem, failed, written)).toEqual(solution);
    });

    it("that never meets it is none, and shown no attempt it meets the start value alone", () => {
      expect(parse?.(problem, failed, [times2, 94, minus5, 3, plus9, 91])).toBeNull();
      expect(parse?.(problem, failed, [times2, 94, minus5])).toBeNull();
      const written = [times2, 94, minus5, 2, plus9, 90];
      expect(parse?.(problem, backward.blank, written)).toEqual(solution);
      expect(finished?.(problem, backward.blank, written.slice(0, 4))).toBe(false);
    });

    it("undoes what it expresses, for any completion, with its end for the answer", () => {
      const task = chainArithmetic({ repairFormat: "backward" });
      const draws = random(3);
      for (let round = 0; round < 20; round++) {
        const made = task.problem(draws);
        const [one, other] = [0, 1].map(() => task.demonstrate(made, 0.9, draws));
        const hindsight = task.hindsight(made, other);
        expect(task.verify(hindsight, other)).toBe(1);
        const written = task.repair.express?.(hindsight, task.blank, other) ?? [];
        expect(task.repair.parse?.(hindsight, task.blank, written)).toEqual(other);
        const parsed = task.repair.parse?.(hindsight, one, written) ?? [];
        expect(parsed.at(-1)).toBe(hindsight.answer);
        expect(parsed).toHaveLength(other.length);
      }
    });
  });

  it("shows the answer before a hinted repair", () => {
    const hinted = chainArithmetic({ operations: 3, repairFormat: "hinted" });
    expect(hinted.repair.prompt(problem, solution)).toEqual([...problem.prompt, ...solution, fix, 91]);
    expect(hinted.repair.parse).toBeUndefined();
  });

  it("writes tokens as a person reads them", () => {
    expect(three.write([...problem.prompt, ...solution.slice(0, 2), fix, plus3, 0])).toBe(
      "90 +9 −5 ×2 = +9 2 fix +3 0",
    );
  });

  it.each([0, -1, 2.5, NaN])("refuses %s operations", (operations) => {
    expect(() => chainArithmetic({ operations })).toThrow(/operations to be an integer ≥ 1/);
  });
});

describe("the start of its table of positions", () => {
  const hidden = 5;
  const table = three.positions(hidden, normals(random(1)));
  const at = (position: number) => [...table.subarray(position * hidden, (position + 1) * hidden)];
  const minus = (a: number, b: number) => at(a).map((x, h) => x - at(b)[h]);
  const expectEqual = (a: readonly number[], b: readonly number[]) =>
    a.forEach((x, h) => expect(x).toBeCloseTo(b[h], 5));

  it("has a vector per position, no two alike", () => {
    expect(table).toHaveLength(three.maxPositions * hidden);
    const vectors = Array.from({ length: three.maxPositions }, (_, position) => at(position).join(" "));
    expect(new Set(vectors).size).toBe(three.maxPositions);
  });

  it("tells steps apart in the same way in the problem, the completion and the repair", () => {
    // Problem: start 0, operations 1 2 3, equals 4; completion 5 … 10; mark 11; repair 12 … 17.
    const [written, repaired] = [5, 12];
    expectEqual(minus(written + 2, written), minus(repaired + 2, repaired));
    expectEqual(minus(written + 4, written), minus(repaired + 4, repaired));
    // An operation of the problem and a value: both belong to a step and come before the next.
    expectEqual(minus(2, 1), minus(written + 3, written + 1));
    expectEqual(minus(2, 1), minus(repaired + 3, repaired + 1));
    expect(Math.hypot(...minus(written + 2, written))).toBeGreaterThan(0.5);
    // The last value has no step after it.
    expect(Math.hypot(...minus(3, 1).map((x, h) => x - minus(written + 5, written + 1)[h]))).toBeGreaterThan(0.1);
  });
});
