import { describe, expect, it } from "vitest";
import { Budget, maxSteps } from "../../src/verifiers/math/budget.ts";
import { mathVerifier, sameMathematics } from "../../src/verifiers/math.ts";

const r = String.raw;

/** Pairs by kind: each the same both ways round. */
const equal: readonly (readonly [string, string])[] = [
  ["1/2", "0.5"],
  [r`\frac12`, r`\dfrac{1}{2}`],
  [r`2\frac{1}{3}`, "7/3"],
  ["2 1/3", r`\frac73`],
  ["1,234,567", "1234567"],
  [r`14{,}916`, "14916"],
  [r`1\,000\,000`, "1000000"],
  ["1 000", "1000"],
  ["1000,99", "1000.99"],
  [r`1.5\times 10^{3}`, "1500"],
  ["1.5e3", "1500"],
  [r`\$1,234.50`, "1234.5"],
  ["5 million", "5000000"],
  [r`50\%`, "0.5"],
  [r`50\%`, "50 percent"],
  [r`90^\circ`, "90"],
  [r`12\text{ cm}^2`, "12"],
  ["x = 3", "3"],
  ["3.", "3"],
  [r`\sqrt{12}`, r`2\sqrt3`],
  [r`\frac{1}{\sqrt2}`, r`\frac{\sqrt{2}}{2}`],
  [r`\sqrt[3]{8}`, "2"],
  ["x^2-1", "(x-1)(x+1)"],
  [r`\frac{x^2-1}{x-1}`, "x+1"],
  ["3+4i", "4i+3"],
  [r`(1+i)^2`, "2i"],
  [r`\sin^2 x+\cos^2 x`, "1"],
  [r`\sin 30^\circ`, "1/2"],
  [r`\ln 8`, r`3\ln 2`],
  [r`\log_2 8`, "3"],
  [r`\binom{5}{2}`, "10"],
  ["10!", "3628800"],
  [r`\{1,2\}`, r`\{2,1\}`],
  [r`1\pm\sqrt2`, r`1-\sqrt2, 1+\sqrt2`],
  ["x=1 or x=2", r`\{2, 1\}`],
  ["(1,2),(3,4)", "(3,4),(1,2)"],
  ["y=2x+1", "2x-y+1=0"],
  ["x<3", "3>x"],
  ["x<3", r`(-\infty,3)`],
  [r`x \in [-2,7]`, r`-2 \le x \le 7`],
  [r`x<1\text{ or }x>3`, r`(3,\infty)\cup(-\infty,1)`],
  [r`\begin{pmatrix}1\\2\end{pmatrix}`, r`\begin{bmatrix}1\\2\end{bmatrix}`],
  [r`\frac{1}{12}`, "0.0833333333"],
  [r`\text{no solution}`, "No solution"],
  ["204_5", "204_{5}"],
];

const unequal: readonly (readonly [string, string])[] = [
  ["1/3", "0.3333"],
  [r`\sqrt2`, "1.41422"],
  [r`\pi`, "22/7"],
  ["-3", "3"],
  ["10^{20}", "10^{20}+1"],
  ["x", "X"],
  ["x", "2x"],
  ["x+1", "x+1.0000001"],
  [r`\sqrt{x^2}`, "x"],
  [r`\sin x`, r`\cos x`],
  [r`\tan^{-1} x`, r`\frac{1}{\tan x}`],
  ["(1,2)", "[1,2]"],
  ["(1,2)", "(2,1)"],
  ["1, 2, 3", "1, 3, 2"],
  [r`\{1,2\}`, r`\{1,2,3\}`],
  ["32349", "32, 349"],
  ["12", "1 2"],
  ["3", "3 or 4"],
  ["3", "at least 3"],
  ["5", "5 million"],
  ["10 cm", "10 km"],
  ["x<3", r`x\le 3`],
  ["x<3", "y<3"],
  ["x=2", "y=2"],
  ["3x=6", "6"],
  ["7=11a+c", "11a+c"],
  [r`\infty`, r`-\infty`],
  [r`\frac10`, r`\frac20`],
  ["204_5", "204"],
  ["Monday", "Tuesday"],
  [r`\begin{pmatrix}1&2\end{pmatrix}`, r`\begin{pmatrix}2&1\end{pmatrix}`],
];

describe("answers in mathematics", () => {
  it.each(equal)("%s is %s", (a, b) => {
    expect([sameMathematics(a, b), sameMathematics(b, a)]).toEqual([true, true]);
  });

  it.each(unequal)("%s is not %s", (a, b) => {
    expect([sameMathematics(a, b), sameMathematics(b, a)]).toEqual([false, false]);
  });

  it("are equal to themselves, also in a formula, with layout and a final point", () => {
    for (const answer of [...equal, ...unequal].flat()) {
      expect(sameMathematics(answer, answer), answer).toBe(true);
      expect(sameMathematics(answer, ` $ ${answer} $ .`), answer).toBe(true);
    }
  });

  it("a tuple may come without its brackets, a list of numbers is no tuple", () => {
    expect(sameMathematics("(1,3)", "x=1, y=3")).toBe(true);
    expect(sameMathematics("1, 3", "(1,3)")).toBe(false);
  });
});

describe("the mathematics verifier", () => {
  const verify = (solution: string, answer: unknown, marker = "") =>
    mathVerifier(marker).verify(solution, answer, true);

  it.each([
    [r`so \boxed{3}, no: \boxed{\frac{1}{2}}.`, "0.5", 1],
    [r`\boxed{1} and \boxed{2}`, "2 and 1", 1],
    [r`\boxed{200} So there are 3 more.`, 200, 1],
    ["Therefore $x \\geq 5$ is the solution.", "x >= 5", 1],
    ["It is not 10 but 1,000.99€", "1000.99", 1],
    ["The answer is 3. I hope that it is correct.", 3, 1],
    [r`\boxed{2}. The final answer is $3$.`, 3, 1],
    ["2 + 3 = 5", 5, 1],
    ["no idea", 5, 0],
    ["", 5, 0],
    [r`\boxed{}`, 5, 0],
  ])("finds the answer of %j", (solution, answer, outcome) => {
    expect(verify(solution, answer)).toBe(outcome);
  });

  it("looks behind the marker where there is no box", () => {
    expect(verify("1 + 1 = 2\n#### 2\n", "reasoning with 5\n#### 2", "####")).toBe(1);
    expect(mathVerifier("####").extract("3\n#### 2 apples\nand 7")).toBe("2 apples");
  });

  it("throws where the known answer says nothing, and only there", () => {
    expect(() => verify("1", " $ $ ")).toThrow("expected an answer in mathematics");
    expect(() => verify("1", null)).toThrow("expected answer to be a text or a number");
  });
});

describe("hostile answers", () => {
  const hostile = {
    "opened brackets": "(".repeat(50_000),
    "nested brackets": `${"(".repeat(200)}1${")".repeat(200)}`,
    "nested roots": "\\sqrt{".repeat(500),
    "a tower of powers": "9^{9^{9^9}}",
    "a large exponent": "x^{999999999}",
    "a large power of a sum": "(x+y+z+a+b+c)^{200}",
    "powers of powers": "((((x+1)^{99}+1)^{99}+1)^{99}",
    "a large factorial": "1000!!!",
    "many digits": "9".repeat(100_000),
    "an exponent of six digits": "1e999999",
    "many items": `\\{${"1\\pm2,".repeat(200)}3\\}`,
    "many signs": `${"-".repeat(3000)}1`,
    "opened boxes": "\\boxed{".repeat(20_000),
    "many formulas": "$ ".repeat(50_000),
  };

  it.each(Object.entries(hostile))("%s: judged wrong, within the bound on steps", (_, answer) => {
    const budget = new Budget();
    expect(sameMathematics("\\{x, y\\}", answer, budget)).toBe(false);
    // The step that goes past the bound is counted, and so is that of each reading after it.
    expect(budget.spent).toBeLessThan(maxSteps * 1.01);
    expect(mathVerifier("").verify(answer, "x + 1", true)).toBe(0);
    expect(mathVerifier("").verify(`\\boxed{${answer}}`, "x + 1", true)).toBe(0);
  });
});
