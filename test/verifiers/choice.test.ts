import { describe, expect, it } from "vitest";
import { lastBoxed } from "../../src/verifiers/boxed.ts";
import { choiceOf, choiceVerifier } from "../../src/verifiers/choice.ts";
import { numberVerifier } from "../../src/verifiers/number.ts";

describe("the last box", () => {
  it.each([
    [String.raw`\boxed{1} then \boxed{\frac{1}{2}}`, String.raw`\frac{1}{2}`],
    [String.raw`\fbox{a}`, "a"],
    [String.raw`\boxed 7`, "7"],
    [String.raw`\boxed{\{1\}}`, String.raw`\{1\}`],
    [String.raw`\boxed{1} and \boxed{2}`, String.raw`1 \text{ and } 2`],
    [String.raw`\boxed{1}. So \boxed{2}`, "2"],
    [String.raw`\boxed{3 never closed`, "3 never closed"],
    ["no box", undefined],
  ])("of %s holds %s", (text, content) => {
    expect(lastBoxed(text)?.content).toBe(content);
  });
});

describe("a choice", () => {
  it.each([
    ["B", "B"],
    ["b", "B"],
    ["(B)", "B"],
    ["B.", "B"],
    ["B) because of that", "B"],
    ["Answer: B", "B"],
    ["answer: (b)", "B"],
    ["The answer is B.", "B"],
    ["The correct option is **C**", "C"],
    [String.raw`\boxed{B}`, "B"],
    [String.raw`\boxed{\text{(D)}}`, "D"],
    ["A is wrong and (C) too.\nThe answer is (J)", "J"],
    ["I think that a dog is right", undefined],
    ["Because it is so", undefined],
    ["K", undefined],
    ["", undefined],
  ])("in %j is %s", (text, letter) => {
    expect(choiceOf(text)).toBe(letter);
  });

  it("is judged against the known letter", () => {
    const verify = (solution: string, answer: unknown) => choiceVerifier("").verify(solution, answer, true);
    expect(verify("The answer is B", "(B)")).toBe(1);
    expect(verify("The answer is C", "B")).toBe(0);
    expect(() => verify("B", "dogs")).toThrow('expected a letter from A to J in the answer, received "dogs"');
  });
});

describe("numbers in more spellings", () => {
  it.each([
    ["3/4", "0.75", 1],
    ["50%", "50", 1],
    ["50%", "0.5", 1],
    ["5%", "0.5", 0],
    ["-$1,200.50", "-1200.5", 1],
    ["1.2e3", "1200", 1],
    ["1/0", "1", 0],
  ])("%s for %s gives %s", (given, known, outcome) => {
    expect(numberVerifier("").verify(given, known, true)).toBe(outcome);
  });
});
