import { describe, expect, it } from "vitest";
import { textTask, type TextProblem } from "../../src/tasks/text.ts";
import { characterTokenizer } from "../../src/tokenizers/symbols.ts";
import { fixedTokens } from "../../src/trajectory/index.ts";
import { judge } from "../../src/trajectory/verify.ts";
import { numberVerifier } from "../../src/verifiers/number.ts";

const tokenizer = characterTokenizer("0123456789+=!", ["<end>"]);
const problems: readonly TextProblem[] = Array.from({ length: 7 }, (_, i) => ({
  id: `p${i}`,
  prompt: `${i}+1=`,
  answer: i + 1,
}));
const options = {
  problems,
  tokenizer,
  verifier: numberVerifier(""),
  segment: fixedTokens(1),
  maxTokens: 4,
  seed: 3,
};
const never = (): number => expect.fail("a list needs no chance");

describe("a task of problems in words", () => {
  const task = textTask(options);
  const ids = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) => task.problem(never, from + i).id);

  it("gives every problem once in a pass, in another order in the next", () => {
    const [first, second] = [ids(0, 7), ids(7, 7)];
    const all = problems.map(({ id }) => id);
    expect([...first].sort()).toEqual(all);
    expect([...second].sort()).toEqual(all);
    expect(second).not.toEqual(first);
    expect(first).not.toEqual(all);
  });

  it("gives the same problem for the same index, whatever was asked before", () => {
    const once = ids(0, 21);
    expect(ids(0, 21)).toEqual(once);
    expect(textTask(options).problem(never, 17).id).toBe(once[17]);
    expect(Array.from({ length: 14 }, (_, i) => textTask({ ...options, seed: 4 }).problem(never, i).id)).not.toEqual(
      once.slice(0, 14),
    );
  });

  it("judges what is written by its text", () => {
    const problem = task.encode(problems[4]);
    expect(tokenizer.decode(problem.prompt)).toBe("4+1=");
    const end = tokenizer.idOf("<end>") as number;
    expect(task.verify(problem, [...tokenizer.encode("5"), end])).toBe(1);
    expect(task.verify(problem, tokenizer.encode("6"))).toBe(0);
  });

  it("tells its verifier whether a solution came to its end", () => {
    const end = tokenizer.idOf("<end>") as number;
    const verifier = { verify: (_: string, __: unknown, finished: boolean) => (finished ? 1 : 0) };
    const ended = textTask({ ...options, stop: [end], verifier });
    const problem = ended.encode(problems[0]);
    expect(ended.verify(problem, [...tokenizer.encode("5"), end])).toBe(1);
    expect(ended.verify(problem, tokenizer.encode("5"))).toBe(0);
    expect(ended.verify(problem, [])).toBe(0);
  });

  it("waits for its verifier's verdict, and a rejection is none", async () => {
    const verifier = {
      verify: async (solution: string) => (solution === "9" ? Promise.reject(new Error("away")) : Number(solution)),
    };
    const waiting = textTask({ ...options, verifier });
    const problem = waiting.encode(problems[0]);
    const judged = (text: string) => judge(waiting.verify, problem, tokenizer.encode(text));
    expect(await judged("3")).toEqual({ outcome: 3 });
    expect(await judged("9")).toEqual({ outcome: NaN, reason: "away" });
  });

  it("asks for a repair as it is told, and only of its own problems", () => {
    expect(task.repair).toBeUndefined();
    const repairing = textTask({
      ...options,
      repairPrompt: ({ prompt }, attempt) => (attempt === "9" ? null : tokenizer.encode(`${prompt}${attempt}!`)),
    });
    const problem = repairing.encode(problems[2]);
    const asked = repairing.repair?.prompt(problem, tokenizer.encode("7"));
    expect(tokenizer.decode(asked ?? [])).toBe("2+1=7!");
    expect(repairing.repair?.prompt(problem, tokenizer.encode("9"))).toBeNull();
    expect(() => repairing.repair?.prompt({ id: "p9", prompt: [1] }, [])).toThrow(
      "textTask: expected problem p9 to have its text, received none",
    );
  });

  it("asks for the first wrong step as it is told, and takes the last number that is written", () => {
    const asking = textTask({
      ...options,
      critique: { prompt: ({ prompt }, steps) => tokenizer.encode(`${prompt}${steps.join("!")}`), maxTokens: 5 },
    });
    const problem = asking.encode(problems[2]);
    const steps = ["1", "2"].map((step) => tokenizer.encode(step));
    expect(tokenizer.decode(asking.critique?.prompt(problem, steps) ?? [])).toBe("2+1=1!2");
    expect(asking.critique?.parse(tokenizer.encode("1+2"), steps)).toBe(1);
    expect(asking.critique?.parse(tokenizer.encode("!"), steps)).toBeNull();
    expect(asking.critique?.maxTokens).toBe(5);
  });

  it("gives the list's own order in every pass where it is not to be shuffled", () => {
    const plain = textTask({ ...options, shuffle: false });
    expect(plain.count).toBe(7);
    const given = Array.from({ length: 14 }, (_, i) => plain.problem(never, i).id);
    expect(given).toEqual([...problems, ...problems].map(({ id }) => id));
  });

  it("asks a source for a new problem each time, and a checker for the first wrong step of one", () => {
    const endless = textTask({
      ...options,
      name: "endless",
      problems: (random) => problems[Math.floor(random() * 7)],
      firstWrongStep: ({ prompt }, solution) => prompt.length - solution.length,
    });
    expect(endless.name).toBe("endless");
    expect(endless.count).toBeUndefined();
    const problem = endless.problem(() => 0.5, 0);
    expect(problem.id).toBe("p3");
    expect(endless.problem(() => 0.9, 0).id).toBe("p6");
    expect(endless.firstWrongStep?.(problem, tokenizer.encode("7"))).toBe(3);
    expect(task.firstWrongStep).toBeUndefined();
  });

  it("needs a problem", () => {
    expect(() => textTask({ ...options, problems: [] })).toThrow("textTask: expected problems, received none");
  });
});
