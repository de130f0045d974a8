import { describe, expect, it } from "vitest";
import { countdownVerifier } from "../../src/verifiers/countdown.ts";

const verifier = countdownVerifier("");
const problem = { numbers: [20, 24, 51], target: 540 };
const judge = (solution: string, answer: unknown = problem) => verifier.verify(solution, answer, true);

describe("the countdown verifier", () => {
  it.each([
    "20*(51 - 24)",
    "  20*(51 - 24)\n",
    "The answer is 20*(51 - 24).",
    "51 - 24 = 27, so 20 * (51 - 24) = 20 * 27 = 540. I used all 3 numbers.",
    "540 = 20 × (51 − 24)",
    "\\[ 20 \\times \\left(51 - 24\\right) = 540 \\]",
    "so \\boxed{(51 - 24) \\cdot 20}",
    "<answer>(51-24)*20</answer>",
    "**20 * (51 - 24)**",
    "1. 20*(51 - 24)",
    "-(24 - 51) * 20",
  ])("takes %j", (solution) => {
    expect(judge(solution)).toBe(1);
  });

  it.each([
    ["another value", "20*(51 + 24)"],
    ["a number that is not given", "540"],
    ["a number that is not given, in a sum", "500 + 40"],
    ["a number twice", "20*24 + 20*24 - 420"],
    ["a number left out", "51 - 24"],
    ["a bracket that is not closed", "20*(51 - 24"],
    ["an end that is missing", "20*(51 - 24) +"],
    ["digits put together", "2 0 * (51 - 24)"],
    ["steps instead of an expression", "51 - 24 = 27\n27 * 20 = 540"],
    ["nothing", ""],
    ["words", "there is no way"],
  ])("gives nothing for %s", (_, solution) => {
    expect(judge(solution)).toBe(0);
  });

  it("reads no part of something else", () => {
    const ten = { numbers: [2, 5], target: 10 };
    expect(judge("2 * 5", ten)).toBe(1);
    for (const written of ["3^2 * 5", "3**2 * 5", "sqrt(2) * 5", "\\sqrt{2} * 5", "1.2 * 5", "1,2 * 5", "2 * 5x"]) {
      expect(judge(written, ten), written).toBe(0);
    }
    expect(judge("2 * 5 \\sqrt{9}", ten)).toBe(0);
    expect(judge("x2 + 2 * 5", ten)).toBe(0);
    expect(judge("f(2 * 5)", ten)).toBe(0);
    expect(judge("2 * 5!", ten)).toBe(0);
  });

  it("computes in exact fractions", () => {
    // 8 / (3 - 8/3) = 8 / (1/3) = 24; in float64 the inner difference is not a third.
    const fours = { numbers: [3, 3, 8, 8], target: 24 };
    expect(judge("8 / (3 - 8 / 3)", fours)).toBe(1);
    expect(judge("\\frac{8}{3 - \\frac{8}{3}}", fours)).toBe(0); // a fraction in a fraction is not read
    expect(judge("8 / (3 - 3) + 8", fours)).toBe(0);
  });

  it("allows numbers to be left out where the answer says so", () => {
    const some = { numbers: [2, 5, 7], target: 10, useAll: false };
    expect(judge("2 * 5", some)).toBe(1);
    expect(judge("2 * 5", { ...some, useAll: true })).toBe(0);
    expect(judge("5 + 5", some)).toBe(0);
    expect(judge("7", { numbers: [7, 3], target: 7, useAll: false })).toBe(1);
  });

  it("looks behind the marker, and into the last box before it", () => {
    const marked = countdownVerifier("####");
    expect(marked.verify("1 + 1 #### 20*(51-24)", problem, true)).toBe(1);
    expect(marked.verify("\\boxed{1 + 1} #### 20*(51-24)", problem, true)).toBe(0);
    expect(verifier.extract("so \\boxed{1 + 1}, not 2 + 3")).toBe("1 + 1");
  });

  it("refuses an answer that is none", () => {
    expect(() => judge("1", "540")).toThrow("expected answer.numbers to be integers ≥ 0, received undefined");
    expect(() => judge("1", null)).toThrow("answer.numbers");
    expect(() => judge("1", { numbers: [1.5], target: 1 })).toThrow("answer.numbers");
    expect(() => judge("1", { numbers: [1], target: "1" })).toThrow('answer.target to be an integer, received "1"');
    expect(() => judge("1", { ...problem, useAll: 1 })).toThrow("answer.useAll");
  });

  it("ends in time on texts of any size", () => {
    for (const piece of ["(", "-", "1+", "9", "1 ", "*", "\\frac{1}{", "= "]) {
      expect(judge(piece.repeat(20_000)), piece).toBe(0);
    }
  });
});
