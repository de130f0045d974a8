import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it, vi } from "vitest";
import {
  demoDefaults,
  methodConfig,
  methodNames,
  recipeNames,
  runDemo,
  type CurvePoint,
  type DemoConfig,
  type DemoResult,
} from "../src/demo/demo.ts";
import { findExample, writeExample } from "../src/demo/example.ts";
import { table, tableRows, toJson } from "../src/demo/summary.ts";
import { deviation, mean, sampledAt, tokensToReach } from "../src/run/curves.ts";
import { TransformerPolicy } from "../src/policies/transformer.ts";
import { parseYaml, resolveRun } from "../src/run/config.ts";
import { run } from "../src/run/run.ts";
import { demoReport } from "../src/report/demo.ts";
import { chainArithmetic } from "../src/tasks/chain-arithmetic.ts";
import type { SuperviseConfig } from "../src/trajectory/index.ts";
import { draw } from "./support/draw.ts";
import { repository } from "./support/imports.ts";

// Read when colours are first asked for, before the imports above.
vi.hoisted(() => (process.env["NO_COLOR"] = "1"));

const curve: readonly CurvePoint[] = [
  [0, 0.5, 0.1],
  [1000, 0.6, 0.3],
  [3000, 0.9, 0.7],
];

describe("the summary", () => {
  it("reads a curve on the straight lines between its points", () => {
    expect([0, 500, 1000, 1500, 3000].map((tokens) => sampledAt(curve, tokens))).toEqual([
      0.1,
      expect.closeTo(0.2),
      0.3,
      expect.closeTo(0.4),
      0.7,
    ]);
    expect(sampledAt(curve, 3001)).toBeNaN();
  });

  it("says after how many tokens the mean of the seeds reaches an accuracy", () => {
    const later = curve.map(([tokens, greedy, sampled]): CurvePoint => [2 * tokens, greedy, sampled]);
    expect(tokensToReach([curve], 0.5)).toBe(2000);
    expect(tokensToReach([curve], 0.1)).toBe(0);
    expect(tokensToReach([curve], 0.71)).toBeUndefined();
    // At 3,000 tokens 0.7 and 0.4.
    expect(tokensToReach([curve, later], 0.54)).toBe(3000);
    expect(tokensToReach([curve, later], 0.56)).toBeUndefined();
  });

  it("sees an accuracy that is reached only at the end, wherever that lies", () => {
    const [, , last] = curve;
    expect(tokensToReach([[curve[0], [2700, last[1], last[2]]]], 0.7)).toBe(2700);
  });

  it("takes the mean and the deviation of a sample", () => {
    expect(mean([1, 2, 6])).toBe(3);
    expect(deviation([1, 2, 6])).toBeCloseTo(Math.sqrt((4 + 1 + 9) / 2), 14);
    expect(deviation([5])).toBe(0);
  });
});

describe.each(recipeNames)("a very small demo with repairs of %s data", (repairs) => {
  const config: DemoConfig = {
    repairs,
    seeds: [4],
    budgetTokens: 3000,
    evaluationProblems: 20,
    evaluateEvery: 2500,
    warmStartSeed: 7,
    warmStartSteps: 10,
  };
  const heard = { warmStartStep: 0, warmStarted: 0, iterated: 0, evaluated: 0, trained: 0 };
  const losses: number[] = [];
  let result: DemoResult;
  const weights = new Map<string, Float32Array>();
  beforeAll(async () => {
    result = await runDemo(config, {
      warmStartStep: (_, steps, loss) => {
        expect(steps).toBe(10);
        losses.push(loss);
        heard.warmStartStep++;
      },
      warmStarted: () => {
        heard.warmStarted++;
      },
      iterated: () => {
        heard.iterated++;
      },
      evaluated: () => {
        heard.evaluated++;
      },
      trained: (policy, { method }) => {
        heard.trained++;
        weights.set(method, Float32Array.from(policy.parameters().flatMap(({ data }) => Array.from(data))));
      },
    });
  });

  it("gives the JSON that scripts rely on", () => {
    const json = toJson(result);
    const share = (value: unknown) => typeof value === "number" && value >= 0 && value <= 1;
    expect(Object.keys(json)).toEqual(["task", "policy", "budgetTokens", "seeds", "warmStart", "methods", "seconds"]);
    expect(json).toMatchObject({ task: "chain-arithmetic", budgetTokens: 3000, seeds: [4] });
    expect(Object.keys(json.warmStart)).toEqual(["greedy", "sampled", "falseSuccess"]);
    expect(Object.values(json.warmStart).every(share)).toBe(true);
    expect(json.policy.parameters).toBeGreaterThan(100_000);
    expect(json.seconds).toBeGreaterThan(0);
    expect(Object.keys(json.methods)).toEqual(["outcome", "positiveOnly", "iop"]);
    for (const [name, method] of Object.entries(json.methods)) {
      const { greedy, sampled, tokens, updates, curves, seconds } = method;
      for (const perSeed of [greedy, sampled, tokens, updates, curves, seconds]) expect(perSeed).toHaveLength(1);
      expect(share(greedy[0]) && share(sampled[0])).toBe(true);
      expect(curves[0][0]).toEqual([0, json.warmStart.greedy, json.warmStart.sampled]);
      expect(curves[0].at(-1)).toEqual([tokens[0], greedy[0], sampled[0]]);
      // At least the rollouts of the seven problems that the budget pays for at their dearest: 7 · 8 · 24 tokens.
      expect(tokens[0]).toBeGreaterThanOrEqual(1344);
      expect(tokens[0]).toBeLessThan(3400);
      expect(method.settings).toMatchObject({ method: name, groupSize: 8 });
      expect("identify" in method).toBe(name !== "outcome");
      if (method.identify) expect(Object.values(method.identify).every(share)).toBe(true);
    }
    const { repair } = json.methods.iop;
    expect(repair?.tried).toBeGreaterThan(0);
    expect(repair?.verified).toBeLessThanOrEqual(repair?.tried ?? 0);
    expect(repair?.accepted).toBeLessThanOrEqual(repair?.verified ?? 0);
    expect(json.methods.outcome.repair).toBeUndefined();
    expect(JSON.parse(JSON.stringify(json))).toEqual(json);
  });

  it("tells its listener of every step, iteration, evaluation and run", () => {
    expect(heard).toMatchObject({ warmStartStep: 10, warmStarted: 1, trained: 3 });
    expect(heard.iterated).toBeGreaterThanOrEqual(3);
    expect(heard.evaluated).toBe(result.runs.reduce((sum, run) => sum + run.curve.length - 1, 0));
    expect(mean(losses.slice(-3))).toBeLessThan(mean(losses.slice(0, 3)) - 0.2);
  });

  it("is a configuration of train: a run by it ends with the same weights and the same curve", async () => {
    const runs = mkdtempSync(join(tmpdir(), "stepcredit-"));
    try {
      const method = { ...methodConfig("iop", 4, config), runs, name: "iop" };
      const ignored = { told: vi.fn(), warmStarted: vi.fn(), iterated: vi.fn(), evaluated: vi.fn() };
      const { curve, directory } = await run(method, ignored, { resume: false });
      expect(curve).toEqual(result.runs.find((each) => each.method === "iop")?.curve);
      const policy = await TransformerPolicy.load(join(directory, "policy"));
      const trained = Float32Array.from(policy.parameters().flatMap(({ data }) => Array.from(data)));
      expect(trained).toEqual(weights.get("iop"));
    } finally {
      rmSync(runs, { recursive: true });
    }
  });

  it("is what examples/chain-arithmetic.yaml says", () => {
    const path = join(repository, "examples", "chain-arithmetic.yaml");
    const config = resolveRun(parseYaml(readFileSync(path, "utf8"), path), path);
    expect(config).toEqual(methodConfig("iop", 0, demoDefaults));
  });

  it("closes with a table of a column per method", () => {
    const json = toJson(result);
    const rows = tableRows(json);
    for (const { cells } of rows) expect(cells).toHaveLength(3);
    expect(rows.map(({ heading }) => heading)).toContain("sampled accuracy at the end");
    const lines = table(json).split("\n");
    expect(lines).toHaveLength(rows.length + 1);
    expect(new Set(lines.map(({ length }) => length)).size).toBe(1);
    expect(lines[0].trim().split(/\s+/)).toEqual(methodNames);
    expect(table(json)).not.toMatch(/NaN|undefined|Infinity/);
  });

  it("reports in one page that quotes what it was given", () => {
    const html = demoReport({ ...toJson(result), task: "a < b & c" }, `<script>"run"</script>`);
    expect(html).not.toMatch(/<script|<link|https?:|src=/);
    expect(html).toContain("<h1>&lt;script&gt;&quot;run&quot;&lt;/script&gt;</h1>");
    expect(html).toContain("a &lt; b &amp; c");
    expect(html).not.toMatch(/NaN|undefined|Infinity/);
    // A thin line per seed and a thick one for the mean, per method.
    expect(html.match(/<polyline/g)).toHaveLength(2 * methodNames.length);
  });
});

describe("the example", () => {
  // 90 +9 → 2, −5 → 94, ×2 → 91 (modulo 97)
  const task = chainArithmetic({ operations: 3 });
  const tree = draw(
    `
    90 100 102 105 109
      100 3
        102 95
          105 93 → 0
      100 2
        102 94
          105 92 → 0
          105 91 → 1 repair of 1
    `,
    { answer: 91 },
  );
  const rules: SuperviseConfig = {
    rule: "contrast",
    advantage: (outcomes) => outcomes.map(() => 0),
    penaltyWeight: 0.25,
  };

  it("is the failed rollout that shows most: corrected by itself, after steps that were right", () => {
    expect(findExample([tree])).toMatchObject({ leaf: 1, rank: 2 });
    expect(findExample([draw("1\n  2 → 0\n  3 → 1"), tree])).toMatchObject({ tree, leaf: 1 });
    expect(findExample([draw("1\n  2 → 0\n  3 → 0")])).toBeUndefined();
  });

  it("shows the problem, the step blamed, the correction and the credit of both", () => {
    const text = writeExample(task, tree, 1, rules);
    const cells = (line: string) =>
      line
        .slice(12)
        .split("│")
        .map((cell) => cell.trim());
    const [problem, failed, penalty, repaired, reward, blamed] = text.split("\n");
    expect(problem).toBe("problem     90 +9 −5 ×2 =   (answer 91)");
    expect(cells(failed)).toEqual(["+9 2", "−5 94", "×2 92"]);
    expect(cells(penalty)).toEqual(["0", "0", "−0.25"]);
    expect(repaired).toMatch(/^repair {6}/);
    expect(cells(repaired)).toEqual(["+9 2", "−5 94", "×2 91"]);
    expect(cells(reward)).toEqual(["0", "0", "+1.00"]);
    expect(blamed).toBe("blamed      step 3, the first wrong one");
  });

  it("says so where the blame is misplaced", () => {
    // 3 for 2, then 94 for 95: right in the end, wrong on the way.
    const misled = draw("90 100 102 105 109\n  100 3\n    102 95 105 93 → 0\n    102 94 105 91 → 1", { answer: 91 });
    const text = writeExample(task, misled, 0, rules);
    expect(text).toMatch(/^sibling /m);
    expect(text).toContain("blamed      step 2; the first wrong one is step 1");
  });
});
