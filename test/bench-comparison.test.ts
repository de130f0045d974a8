import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { comparisonPage } from "../bench/comparison/page.ts";
import { curvePlot, pricePlot } from "../bench/comparison/plots.ts";
import { recordOf, type ComparisonRecord, type NamedFile } from "../bench/comparison/record.ts";
import { withoutPart } from "../bench/comparison/repair-variants.ts";
import { measureStrategy } from "../bench/comparison/strategies.ts";
import type { ComparedRun } from "../src/run/compare.ts";
import { resolveRun } from "../src/run/config.ts";
import { setUp } from "../src/run/setup.ts";
import { chainArithmetic } from "../src/tasks/chain-arithmetic.ts";
import { fixedTokens, type Sampler } from "../src/trajectory/index.ts";
import type { Policy } from "../src/policy.ts";
import type { Task } from "../src/tasks/task.ts";
import { random } from "./support/random.ts";

/** A sampler that writes the same in turn, whatever it is asked, cut to what is still wanted. */
function writing(...solutions: readonly (readonly number[])[]): Policy {
  const sampler = (): Sampler & { answered: number } => {
    let next = 0;
    return {
      answered: 0,
      sample: (requests) =>
        Promise.resolve(
          requests.map(({ maxTokens }) => {
            const tokens = solutions[next++ % solutions.length].slice(-maxTokens);
            return { tokens, logprobs: tokens.map(() => 0) };
          }),
        ),
    };
  };
  return { sampler } as unknown as Policy;
}

/** Right is 1 2 3. */
const counting: Task = {
  name: "counting",
  vocabulary: 10,
  maxTokens: 3,
  segment: fixedTokens(1),
  verify: (_, completion) => (completion[2] === 3 ? 1 : 0),
  firstWrongStep: (_, completion) => completion.findIndex((token, i) => token !== i + 1),
  problem: () => ({ id: "p", prompt: [0], answer: 3 }),
  write: String,
};
const problems = [counting.problem(Math.random, 0)];
const options = { groupSize: 2, seed: 1 };

describe("a measured strategy", () => {
  it("is right where the reference parts from the failure at its first wrong step", async () => {
    const policy = writing([1, 2, 4], [1, 2, 3]);
    const found = await measureStrategy(policy, counting, problems, { kind: "siblings" }, options);
    expect(found).toEqual({ failed: 1, withReference: 1, agreed: 1, tokens: 0 });
  });

  it("is wrong where a false success is taken for a reference", async () => {
    const policy = writing([1, 2, 4], [5, 2, 3]);
    const found = await measureStrategy(policy, counting, problems, { kind: "siblings" }, options);
    expect(found).toEqual({ failed: 1, withReference: 1, agreed: 0, tokens: 0 });
  });

  it("is asked where a group has no success, and pays for what it generates", async () => {
    const policy = writing([1, 4, 4], [1, 4, 4], [1, 2, 3], [9, 9, 9]);
    const rollouts = await measureStrategy(policy, counting, problems, { kind: "rollouts", samples: 1 }, options);
    expect(rollouts).toEqual({ failed: 2, withReference: 2, agreed: 2, tokens: 6 });
    const solved = writing([1, 2, 4], [1, 2, 3]);
    expect(await measureStrategy(solved, counting, problems, { kind: "rollouts", samples: 1 }, options)).toEqual({
      failed: 0,
      withReference: 0,
      agreed: 0,
      tokens: 0,
    });
  });

  it("continues from before the step that the checker names, which costs nothing to name", async () => {
    const policy = writing([1, 4, 4], [1, 4, 4], [7], [7], [1, 2, 3], [9, 9, 9]);
    const strategy = { kind: "critique", by: "checker", samples: 1 } as const;
    const found = await measureStrategy(policy, counting, problems, strategy, options);
    expect(found).toEqual({ failed: 2, withReference: 2, agreed: 2, tokens: 4 });
  });

  it("continues from before the step that a critique of the policy names, and pays for the critique", async () => {
    const policy = writing([1, 4, 4], [1, 4, 4], [2], [2], [1, 2, 3], [9, 9, 9]);
    const critique = { prompt: () => [0], parse: ([step]: readonly number[]) => step - 1, maxTokens: 1 };
    const strategy = { kind: "critique", by: "policy", samples: 1 } as const;
    const found = await measureStrategy(policy, { ...counting, critique }, problems, strategy, options);
    expect(found).toEqual({ failed: 2, withReference: 2, agreed: 2, tokens: 6 });
    await expect(measureStrategy(policy, counting, problems, strategy, options)).rejects.toThrow(
      "expected counting to have critiques",
    );
  });

  it("needs a task that knows its steps, and repairs where it is to ask for them", async () => {
    const { firstWrongStep: _, ...blind } = counting;
    const policy = writing([1, 2, 4]);
    await expect(measureStrategy(policy, blind, problems, { kind: "siblings" }, options)).rejects.toThrow(
      "expected counting to tell the first wrong step",
    );
    await expect(
      measureStrategy(policy, counting, problems, { kind: "repair", plausibility: 0 }, options),
    ).rejects.toThrow("expected counting to have repairs");
  });
});

describe("a repair with parts left out", () => {
  const task = chainArithmetic({ operations: 12, repairFormat: "backward" });
  const problem = task.problem(random(1));
  const right = task.demonstrate(problem, 0, () => 0);
  // Wrong from the seventh value on.
  const failed = right.map((token, t) => (t > 12 && t % 2 === 1 ? (token + 1) % 97 : token));
  const written = task.repair.express!(problem, failed, right);

  it("meets the failed attempt, or goes on to the start of the chain", () => {
    const [shown, whole] = [withoutPart(task, "shown").repair!, withoutPart(task, "whole").repair!];
    const met = written.slice(0, 12);
    expect(shown.finished!(problem, failed, met)).toBe(true);
    expect(whole.finished!(problem, failed, met)).toBe(false);
    expect(whole.finished!(problem, failed, written)).toBe(true);
    expect(shown.parse!(problem, failed, met)).toEqual(right);
    expect(whole.parse!(problem, failed, met)).toBeNull();
    expect(whole.parse!(problem, failed, written)).toEqual(right);
  });

  it("is asked for with the failed attempt, or with a blank of its length", () => {
    const asked = (variant: "shown" | "hidden" | "alone") => withoutPart(task, variant).repair!.prompt(problem, failed);
    expect(asked("shown")).toEqual([...problem.prompt, ...failed, task.vocabulary - 1, problem.answer]);
    expect(asked("hidden")).toEqual([...problem.prompt, ...task.blank, task.vocabulary - 1, problem.answer]);
    expect(asked("alone")).toEqual(asked("hidden"));
  });

  it("is of a task whose repairs are written backward", async () => {
    const { task: forward } = await setUp(resolveRun({ task: "chain-arithmetic" }, "here"));
    expect(() => withoutPart(forward, "whole")).toThrow("written backward");
  });
});

describe("the record of a comparison", () => {
  const run = (seed: number, end: number): ComparedRun => ({
    seed,
    tokens: 240_000,
    updates: 10,
    curve: [
      [0, 0.1, 0.1],
      [120_000, 0.2, end / 2],
      [240_000, 0.3, end],
    ],
    seconds: 1,
    failed: 10,
    withReference: 5,
    judged: 5,
    agreed: 4,
    repairsTried: 3,
    repairsVerified: 2,
    repairsAccepted: 1,
  });
  const config = resolveRun({ task: "chain-arithmetic", lr: 0.5, seed: 3, policy: "some/where" }, "here");
  const file = (name: string, ...runs: ComparedRun[]) => ({
    name,
    content: { seeds: [], variants: [{ name: "iop", config, runs }] },
  });
  const identification = {
    name: "h",
    problems: 1,
    groupSize: 2,
    results: [
      { name: "siblings", failed: 8, withReference: 4, agreed: 3, tokens: 0 },
      { name: "search", failed: 4, withReference: 0, agreed: 0, tokens: 40 },
    ],
  };
  const env = { cpu: "a processor", cores: 1, system: "s", isa: "i", blas: null, node: "20", commit: "c", date: "d" };
  const record = (...files: NamedFile[]) => recordOf({ ...env, note: "" }, files);

  it("joins the seeds of a variant from all files of its group, in their order", () => {
    const { groups } = record(file("methods.h.1.json", run(1, 0.6)), file("methods.h.0.json", run(0, 0.4)));
    expect(groups.map(({ kind, start }) => [kind, start])).toEqual([["methods", "h"]]);
    expect(groups[0].variants[0].runs.map(({ seed }) => seed)).toEqual([0, 1]);
    expect(groups[0].variants[0].settings).toEqual({ lr: 0.5, epochs: 2 });
  });

  it("refuses a seed that comes twice, other settings under one name, and a file of another name", () => {
    expect(() => record(file("methods.h.0.json", run(0, 1)), file("methods.h.1.json", run(0, 1)))).toThrow("twice");
    const other = { seeds: [], variants: [{ name: "iop", config: { ...config, lr: 1 }, runs: [run(1, 1)] }] };
    expect(() => record(file("methods.h.0.json", run(0, 1)), { name: "methods.h.1.json", content: other })).toThrow(
      "same settings",
    );
    expect(() => record({ name: "notes.txt", content: {} })).toThrow("expected KIND.START.json");
  });

  it("says what failures pay where they pay by it, and it is not the default", () => {
    const settings = (more: object) => {
      const variants = [{ name: "one", config: { ...config, ...more }, runs: [run(0, 1)] }];
      return record({ name: "methods.h.json", content: { seeds: [], variants } }).groups[0].variants[0].settings;
    };
    expect(settings({ penaltyWeight: 1 })).toMatchObject({ penaltyWeight: 1 });
    expect(settings({ penaltyWeight: 1, contrast: "negative" })).toMatchObject({ penaltyWeight: 1 });
    for (const unpaid of [{ contrast: "positive" }, { method: "outcome" }]) {
      expect(settings({ penaltyWeight: 1, ...unpaid })).not.toHaveProperty("penaltyWeight");
    }
    expect(settings({})).not.toHaveProperty("penaltyWeight");
  });

  it("draws the curves of all variants, or of those that are named, in that order", () => {
    const variants = ["a", "b", "c"].map((name) => ({ name, config, runs: [run(0, 0.5)] }));
    const made = record({ name: "methods.h.json", content: { seeds: [], variants } });
    const drawn = (what: string) =>
      [
        ...comparisonPage(`<!-- ${what} -->\n<!-- end -->`, made)["comparison/methods-h.svg"].matchAll(/>([abc])</g),
      ].map(([, name]) => name);
    expect(drawn("plot methods h")).toEqual(["a", "b", "c"]);
    expect(drawn("plot methods h c a")).toEqual(["c", "a"]);
    expect(() => drawn("plot methods h d")).toThrow("expected d among methods from h");
  });

  it("shows accuracies where runs were evaluated, and nothing where they were not", () => {
    const often = run(0, 0.8);
    const [first, ...rest] = often.curve;
    const variants = [
      { name: "often", config, runs: [{ ...often, curve: [first, [62_000, 0.1, 0.3] as const, ...rest] }] },
      { name: "seldom", config, runs: [run(0, 0.6)] },
    ];
    const made = record({ name: "methods.h.json", content: { seeds: [], variants } });
    const page = comparisonPage("<!-- group methods h -->\n<!-- end -->", made)["comparison.md"];
    expect(page).toContain("| | 60 k | 120 k | the end |");
    expect(page).toContain("| often | .294 | .400 | **.800** |");
    expect(page).toContain("| seldom | | .300 | .600 |");
  });

  it("shows several starts in one table, and the best of each", () => {
    const from = (start: string, ...ends: number[]) => {
      const variants = ends.map((end, v) => ({ name: "ab"[v], config, runs: [run(0, end)] }));
      return { name: `methods.${start}.json`, content: { seeds: [], variants } };
    };
    const made = record(from("h", 0.4, 0.3), from("k", 0.7, 0.9));
    const page = comparisonPage("<!-- group methods k h settings -->\n<!-- end -->", made)["comparison.md"];
    const cells = page.split("\n").flatMap((line) => {
      const [, label, , end] = line.split("|").map((cell) => cell.trim());
      return label?.includes("lr") ? [[label, end]] : [];
    });
    expect(cells).toEqual([
      ["k, a: epochs 2, lr 0.5", ".700"],
      ["k, b: epochs 2, lr 0.5", "**.900**"],
      ["h, a: epochs 2, lr 0.5", "**.400**"],
      ["h, b: epochs 2, lr 0.5", ".300"],
    ]);
  });

  it("fills the marked places of a page and draws the plots that it shows", () => {
    const made = record(file("methods.h.json", run(0, 0.4), run(1, 0.6)), {
      name: "identify.h.json",
      content: identification,
    });
    const text = [
      "before",
      "<!-- group methods h settings -->",
      "old",
      "<!-- end -->",
      "<!-- plot methods h -->",
      "<!-- end -->",
      "<!-- identification -->",
      "<!-- end -->",
      "<!-- prices h -->",
      "<!-- end -->",
      "after",
    ].join("\n");
    const files = comparisonPage(text, made);
    const page = files["comparison.md"];
    expect(page).not.toContain("old");
    expect(page.startsWith("before\n") && page.endsWith("\nafter")).toBe(true);
    expect(page).toContain("| iop: epochs 2, lr 0.5 | .250 ± .071 | **.500 ± .141** |");
    expect(page).toContain("| siblings | 0.75 / 0.50 / 0 |");
    expect(page).toContain("| search | – / 0.00 / 10 |");
    const shown = [...page.matchAll(/\]\((comparison\/[^)]*)\)/g)].map(([, name]) => name);
    expect(shown).toEqual(Object.keys(files).filter((name) => name.endsWith(".svg")));
    expect(comparisonPage(page, made)["comparison.md"]).toBe(page);
    expect(() => comparisonPage("<!-- group methods other -->\n<!-- end -->", made)).toThrow(
      "expected runs of methods",
    );
  });
});

describe("a plot of curves", () => {
  it("draws larger shares higher, and names as text", () => {
    const at = (share: number) => {
      const svg = curvePlot(
        "t",
        [
          { name: "a < b", points: [[0, share, 0]] },
          { name: "top", points: [[0, 1, 0]] },
        ],
        1,
      );
      expect(svg).toContain("a &lt; b");
      return Number(/<polyline[^>]*points="[\d.]+,([\d.]+)"/.exec(svg)![1]);
    };
    expect(at(0.2)).toBeGreaterThan(at(0.7));
  });

  it("draws what costs more further to the right", () => {
    const svg = pricePlot(
      "t",
      [1, 10, 100].map((x) => ({ name: String(x), x, y: 0.5 })),
    );
    const [one, ten, hundred] = [...svg.matchAll(/<circle cx="([\d.]+)" cy="[\d.]+" r="5" fill="#\w+"\/>(?!<text)/g)]
      .slice(0, 3)
      .map(([, x]) => Number(x));
    expect(ten - one).toBeGreaterThan(0);
    expect(hundred - ten).toBeCloseTo(ten - one);
  });
});

describe("docs/comparison.md", () => {
  const docs = new URL("../docs/", import.meta.url);
  const read = (name: string) => readFileSync(new URL(name, docs), "utf8");

  it("is what its record says, tables and plots", () => {
    const record = JSON.parse(read("comparison/record.json")) as ComparisonRecord;
    for (const [name, text] of Object.entries(comparisonPage(read("comparison.md"), record))) {
      expect(read(name), name).toBe(text);
    }
  });
});
