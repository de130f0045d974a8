import { describe, expect, it } from "vitest";
import { exactVerifier } from "../../src/verifiers/exact.ts";
import { lastNumber, numberVerifier } from "../../src/verifiers/number.ts";
import type { TextVerifier } from "../../src/verifiers/verifier.ts";

const judged = (verifier: TextVerifier) => (solution: string, answer: unknown) =>
  verifier.verify(solution, answer, true);

describe("the last number", () => {
  it.each([
    ["12", 12],
    ["It is 3.", 3],
    ["3.50 dollars", 3.5],
    ["from 1,234,567.8 down", 1234567.8],
    ["1,23", 23],
    ["-4", -4],
    ["−4", -4],
    ["7-4", 4],
    ["(7)-4", 4],
    ["x = -4", -4],
    ["a .5 b", 0.5],
    ["2e3", 2000],
    ["2E-1", 0.2],
    ["10 apples and no more", 10],
    ["#### 42\n", 42],
    ["nothing", undefined],
    ["", undefined],
    ["- . ,", undefined],
  ])("of %j is %s", (text, value) => {
    expect(lastNumber(text)).toBe(value);
  });
});

describe("the number verifier", () => {
  it("compares values, not spellings", () => {
    const verify = judged(numberVerifier(""));
    expect(verify("so 1,000", "1000")).toBe(1);
    expect(verify("so 1000.0", 1000)).toBe(1);
    expect(verify("1000, or rather 999", 1000)).toBe(0);
    expect(verify("no idea", 1000)).toBe(0);
  });

  it("looks behind the last marker, in the solution and in the answer", () => {
    const verify = judged(numberVerifier("####"));
    expect(verify("1 + 1 = 2\n#### 2", "some reasoning with 5\n#### 2")).toBe(1);
    expect(verify("#### 3\n#### 2", 2)).toBe(1);
    expect(verify("2", 2)).toBe(0);
  });

  it("throws where the answer holds no number, so that nobody is rewarded", () => {
    expect(() => judged(numberVerifier(""))("2", "two")).toThrow(
      'verify: expected a number in the answer, received "two"',
    );
    expect(() => judged(numberVerifier(""))("2", null)).toThrow("expected answer to be a text or a number");
  });
});

describe("the exact verifier", () => {
  it("compares texts, white space at the ends apart", () => {
    const verify = judged(exactVerifier(""));
    expect(verify(" yes\n", "yes")).toBe(1);
    expect(verify("Yes", "yes")).toBe(0);
    expect(verify("12", 12)).toBe(1);
    expect(verify("12.0", 12)).toBe(0);
  });

  it("gives nothing without the marker", () => {
    const verify = judged(exactVerifier("Answer:"));
    expect(verify("thinking. Answer: B", "B")).toBe(1);
    expect(verify("B", "B")).toBe(0);
    expect(verify("", "")).toBe(0);
  });
});
