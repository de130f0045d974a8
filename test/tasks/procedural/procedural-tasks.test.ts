import { describe, expect, it } from "vitest";
import { proceduralTaskNames, proceduralTasks } from "../../../src/tasks/procedural/index.ts";
import { distinctProblems, proceduralSource } from "../../../src/tasks/procedural/source.ts";
import type { TextProblem } from "../../../src/tasks/text.ts";
import { pick, random } from "../../support/random.ts";

const tasks = proceduralTaskNames.map((name) => proceduralTasks[name]);
const everyLevel = tasks.flatMap((task) => task.levels.map((_, l) => [task.name, l + 1, task] as const));

describe.each(everyLevel)("%s at level %i", (_, level, task) => {
  const draws = random(10 * level);
  const problems = Array.from({ length: 60 }, () => task.problem(draws, level));
  const judge = ({ answer }: TextProblem, solution: string) => task.verifier.verify(solution, answer);

  it("makes problems that are told apart by their ids, the same for the same seed", () => {
    const again = random(10 * level);
    expect(Array.from({ length: 60 }, () => task.problem(again, level))).toEqual(problems);
    const byId = new Map(problems.map((problem) => [problem.id, problem.prompt]));
    expect(byId.size).toBe(new Set(problems.map(({ prompt }) => prompt)).size);
    expect(byId.size).toBeGreaterThan(20);
  });

  it("has a demonstrator whose solution is right in every step and in its answer", () => {
    for (const problem of problems) {
      const solution = task.demonstrate(problem, draws);
      expect(task.firstWrongStep(problem, solution), solution).toBe(-1);
      expect(judge(problem, solution)).toBe(1);
      expect(task.firstWrongStep(problem, `${solution}\n`)).toBe(-1);
      const spaced = Array.from(solution).join(" ");
      expect(task.firstWrongStep(problem, spaced)).toBe(-1);
      expect(judge(problem, spaced)).toBe(1);
    }
  });

  it("has a noisy demonstrator whose failures have a wrong step, with what is right before it", () => {
    let failed = 0;
    for (const problem of problems) {
      const noisy = task.demonstrate(problem, draws, 0.7);
      const wrong = task.firstWrongStep(problem, noisy);
      if (judge(problem, noisy) === 0) {
        failed++;
        expect(wrong, noisy).toBeGreaterThanOrEqual(0);
      }
      if (wrong < 0) continue;
      const lines = noisy.split("\n");
      expect(wrong).toBeLessThan(lines.length);
      // What follows an error is not asked about, and what comes before it lacks only its end.
      expect(task.firstWrongStep(problem, [...lines.slice(0, wrong + 1), "?"].join("\n"))).toBe(wrong);
      expect(task.firstWrongStep(problem, lines.slice(0, wrong).join("\n"))).toBe(wrong);
    }
    expect(failed).toBeGreaterThan(6);
  });

  it("reads the answer that a solution ends with, right or wrong, where a prompt does not hold it", () => {
    const { ending } = task;
    if (ending === undefined) {
      expect(task.name).toBe("countdown");
      return;
    }
    expect(ending("")).toBeNull();
    expect(ending("?")).toBeNull();
    for (const problem of problems) {
      expect(ending(task.demonstrate(problem, draws))).toBe(problem.answer);
      const noisy = task.demonstrate(problem, draws, 0.7);
      const end = ending(noisy);
      if (end !== null) expect(judge({ ...problem, answer: end }, noisy)).toBe(1);
      else expect(noisy).toMatch(/\d\/\d+$/);
    }
  });

  it("finds a changed character, a missing line and one too many", () => {
    const digits = Array.from(task.alphabet.replace(/[\n=]/g, ""));
    for (const problem of problems) {
      const lines = task.demonstrate(problem, draws).split("\n");
      expect(task.firstWrongStep(problem, lines.slice(0, -1).join("\n"))).toBe(lines.length - 1);
      expect(task.firstWrongStep(problem, [...lines, lines.at(-1)].join("\n"))).toBe(lines.length);
      const at = pick(draws, lines.length);
      const place = lines[at].length - 1;
      const other = digits.find((digit) => digit !== lines[at][place] && /\d/.test(digit)) ?? "?";
      const changed = lines.with(at, lines[at].slice(0, place) + other);
      expect(task.firstWrongStep(problem, changed.join("\n")), changed.join("\n")).toBe(at);
    }
  });

  it("is written in its alphabet, and in no more characters than it says", () => {
    const { promptLength, solutionLength } = task.levels[level - 1];
    const letters = new Set(task.alphabet);
    for (const problem of problems) {
      const texts = [0, 0.5, 1].map((noise) => task.demonstrate(problem, draws, noise));
      expect(problem.prompt.length).toBeLessThanOrEqual(promptLength);
      for (const text of texts) expect(text.length).toBeLessThanOrEqual(solutionLength);
      expect(Array.from(problem.prompt + texts.join("")).filter((letter) => !letters.has(letter))).toEqual([]);
    }
  });
});

describe.each(proceduralTaskNames)("%s", (name) => {
  const task = proceduralTasks[name];
  const problem = task.problem(random(1), 1);

  it("takes no nonsense for a solution", () => {
    for (const text of ["", "\n", "?", "=", "0=0", "x", "((((", "1/0=1", `\n${task.demonstrate(problem, random(2))}`]) {
      expect(task.firstWrongStep(problem, text), text).toBe(0);
    }
    for (const text of ["", "\n", "?", "1/0=1"]) expect(task.verifier.verify(text, problem.answer)).toBe(0);
    expect(() => task.verifier.verify("1", 1)).toThrow(`${name}: expected answer to be a text, received 1`);
  });

  it("passes over blank lines after the first step", () => {
    const lines = task.demonstrate(problem, random(2)).split("\n");
    expect(task.firstWrongStep(problem, lines.join("\n\n  \n"))).toBe(-1);
  });

  it("refuses levels that it does not have, other tasks' problems, and noise that is no probability", () => {
    for (const level of [0, 1.5, task.levels.length + 1, NaN]) {
      expect(() => task.problem(random(1), level)).toThrow(`${name}: expected a level in 1 … ${task.levels.length}`);
    }
    const other = { id: "a", prompt: "What?", answer: "1" };
    expect(() => task.firstWrongStep(other, "1")).toThrow(/expected (a prompt|an equation)/);
    expect(() => task.demonstrate(problem, random(1), 1.1)).toThrow(`${name}: expected noise in 0 … 1, received 1.1`);
  });
});

describe("a source of problems", () => {
  const task = proceduralTasks.multiplication;

  it("gives only those that are accepted", () => {
    const source = proceduralSource(task, 1, ({ prompt }) => prompt.startsWith("9"));
    const draws = random(3);
    for (let i = 0; i < 50; i++) expect(source(draws).prompt).toMatch(/^9/);
    expect(() => proceduralSource(task, 1, () => false)(draws)).toThrow(
      "multiplication: expected another problem of level 1, found none in 2000 draws",
    );
  });

  it("finds different ones as long as there are any", () => {
    // Two digits times one: 90 · 9 problems, of which ten begin with 47 or 48 and end in 1 … 5.
    const few = proceduralSource(task, 1, ({ prompt }) => /^4[78]\*[1-5]:$/.test(prompt));
    const found = distinctProblems(few, 10, random(4));
    expect(new Set(found.map(({ id }) => id)).size).toBe(10);
    expect(() => distinctProblems(few, 11, random(4))).toThrow("expected 11 different problems, found 10");
  });
});
