import { describe, expect, it } from "vitest";
import { Curriculum, curriculumWeight } from "../src/curriculum.ts";
import { textTask } from "../src/tasks/text.ts";
import { proceduralTasks } from "../src/tasks/procedural/index.ts";
import { characterTokenizer } from "../src/tokenizers/symbols.ts";
import { createTree, fixedTokens, graft, type Problem, type Tree } from "../src/trajectory/index.ts";
import { numberVerifier } from "../src/verifiers/number.ts";
import { random } from "./support/random.ts";

const count = 12;
const problems = Array.from({ length: count }, (_, i) => ({ id: `p${i}`, prompt: `${i}`, answer: i }));
const options = {
  tokenizer: characterTokenizer("0123456789"),
  verifier: numberVerifier(""),
  segment: fixedTokens(1),
  maxTokens: 2,
  seed: 1,
};
const task = textTask({ ...options, problems });
const never = (): number => expect.fail("problems that were not tried come without chance");

/** A group of a problem with these outcomes. */
function group(problem: Problem, outcomes: readonly number[]): Tree {
  const tree = createTree(problem);
  outcomes.forEach((outcome, i) => graft(tree, 0, [[i]], { source: "rollout", outcome }));
  return tree;
}

const alike = (outcome: number) => Array.from({ length: 8 }, () => outcome);
const half = [1, 1, 1, 1, 0, 0, 0, 0];

describe("the weight of a success rate", () => {
  it("is 1 at the target, 0 at the ends, and the variance of an outcome times four for a target of a half", () => {
    for (const target of [0.2, 0.5, 0.8]) {
      expect(curriculumWeight(target, target)).toBe(1);
      expect([curriculumWeight(0, target), curriculumWeight(1, target)]).toEqual([0, 0]);
      expect(curriculumWeight(target + 0.1, target)).toBeLessThan(1);
      expect(curriculumWeight(target - 0.1, target)).toBeLessThan(1);
    }
    for (const rate of [0.1, 0.37, 0.9]) expect(curriculumWeight(rate, 0.5)).toBeCloseTo(4 * rate * (1 - rate), 12);
    // t = ¼, p = ½: √2 · (2/3)^1.5
    expect(curriculumWeight(0.5, 0.25)).toBeCloseTo(Math.SQRT2 * (2 / 3) ** 1.5, 12);
  });
});

describe("a curriculum", () => {
  /** One that has tried all problems; `outcomes` by their place in the order of first draws. */
  function tried(outcomes: (index: number) => readonly number[]): { curriculum: Curriculum; drawn: Problem[] } {
    const curriculum = new Curriculum(task, { target: 0.5 });
    const drawn = Array.from({ length: count }, () => curriculum.draw(never));
    curriculum.measure(drawn.map((problem, i) => group(problem, outcomes(i))));
    curriculum.next();
    return { curriculum, drawn };
  }

  it("begins with every problem once, in the order of the task", () => {
    const { drawn } = tried(() => half);
    expect(drawn.map(({ id }) => id)).toEqual(drawn.map((_, i) => task.problem(never, i).id));
    expect(new Set(drawn).size).toBe(count);
  });

  it("then draws by the weight of the measured rates", () => {
    // Half right: p = 4.5 / 9. All right: p = 8.5 / 9, so its weight is 4 · 8.5 · 0.5 / 81.
    const { curriculum, drawn } = tried((i) => (i < 6 ? half : alike(i < 9 ? 1 : 0)));
    const wanted = new Set(drawn.slice(0, 6));
    const draws = random(2);
    let found = 0;
    const rounds = 4000;
    for (let i = 0; i < rounds; i++) {
      if (wanted.has(curriculum.draw(draws))) found++;
      curriculum.next();
    }
    expect(found / rounds).toBeCloseTo(1 / (1 + (4 * 8.5 * 0.5) / 81), 1);
    expect(found).toBeLessThan(rounds);
  });

  it("gives no problem twice in an iteration, before it has given all", () => {
    const { curriculum } = tried((i) => (i === 0 ? half : alike(0)));
    const draws = random(3);
    const first = Array.from({ length: count }, () => curriculum.draw(draws));
    expect(new Set(first).size).toBe(count);
    expect(first).toContain(curriculum.draw(draws));
  });

  it("forgets half of what it has measured at every new measurement, and counts no unverified solution", () => {
    const { curriculum, drawn } = tried(() => half);
    curriculum.measure([group(drawn[2], [1, 1, NaN, 0])]);
    expect(curriculum.state.tries[2]).toBe(4 + 3);
    expect(curriculum.state.successes[2]).toBe(2 + 2);
    expect(curriculum.state.tries[1]).toBe(8);
  });

  it("goes on from its state as if it had not stopped, also before all were tried", () => {
    for (const before of [5, count]) {
      const whole = new Curriculum(task, { target: 0.3 });
      const drawn = Array.from({ length: before }, () => whole.draw(never));
      whole.measure(drawn.map((problem, i) => group(problem, i % 3 === 0 ? half : alike(i % 2))));
      whole.next();
      const state = JSON.parse(JSON.stringify(whole.state)) as typeof whole.state;
      const resumed = new Curriculum(textTask({ ...options, problems }), { target: 0.3 }, state);
      const [one, other] = [random(5), random(5)];
      for (let i = 0; i < 20; i++) {
        expect(resumed.draw(other).id).toBe(whole.draw(one).id);
        if (i % 4 === 3) for (const each of [whole, resumed]) each.next();
      }
      expect(resumed.state).toEqual(whole.state);
    }
  });

  it("needs a list, a target between 0 and 1, and groups of its own problems", () => {
    const source = (chance: () => number) => proceduralTasks.swaps.problem(chance, 1);
    const endless = textTask({ ...options, problems: source });
    expect(() => new Curriculum(endless, { target: 0.5 })).toThrow("expected a task with a list of problems");
    for (const target of [0, 1, NaN]) expect(() => new Curriculum(task, { target })).toThrow("between 0 and 1");
    const { curriculum } = tried(() => half);
    expect(() => curriculum.measure([group({ id: "other", prompt: [1] }, half)])).toThrow("other was not drawn here");
  });
});
