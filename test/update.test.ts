import { describe, expect, it } from "vitest";
import { pack } from "../src/batch.ts";
import { openOps } from "../src/ops/native.ts";
import type { Floats, Ops } from "../src/ops/ops.ts";
import { reference } from "../src/ops/reference.ts";
import { AdamW } from "../src/optimizer.ts";
import { TablePolicy } from "../src/policies/table.ts";
import { grpo, supervise, type SuperviseConfig, type Tree } from "../src/trajectory/index.ts";
import { measureLogprobs } from "../src/reference.ts";
import { update, type UpdateConfig } from "../src/update.ts";
import { draw } from "./support/draw.ts";
import { byTarget, relativeError, smallTransformer, valuesOf } from "./support/policies.ts";
import { random } from "./support/random.ts";
import { randomTree } from "./support/trees.ts";

const settings: UpdateConfig = { epochs: 1, rowsPerBatch: 4, epsLow: 0.2, epsHigh: 0.2 };
const byOutcome: SuperviseConfig = { rule: "outcome", advantage: (outcomes) => grpo({ outcomes }) };
const table = (ops: Ops = openOps("cpu")) => new TablePolicy({ vocabulary: 6, contexts: 60 }, ops);
const credit = (trees: readonly Tree[], config = byOutcome) => trees.map((tree) => supervise(tree, config));
const run = (policy: TablePolicy, trees: readonly Tree[], config: Partial<UpdateConfig> = {}, rules = byOutcome) =>
  update(policy, new AdamW({ lr: 0.2 }), trees, credit(trees, rules), { ...settings, ...config }, random(1));

const mixed = draw("1\n  2 3 → 1\n  2 4 → 0\n  5\n    3 → 0, 0");
const another = draw("2 1\n  4 → 1\n  4 4 → 0\n  3 → 1");

describe("an update", () => {
  it("holds every step to the log-probs from before the first, whatever trees it goes with", () => {
    const ops = openOps("cpu");
    const seen: { targets: Int32Array; old: Floats }[] = [];
    const spy: Ops = {
      ...ops,
      policyUpdate: {
        ...ops.policyUpdate,
        clip: (args) => {
          seen.push({ targets: args.targets.slice(), old: args.oldLogprobs.slice() });
          return ops.policyUpdate.clip(args);
        },
      },
    };
    const policy = table(spy);
    run(policy, [mixed], { epochs: 3 }); // no longer uniform
    const trees = [mixed, another, draw("3\n  1 1 → 1\n  1 2 → 0")];
    const expected = new Set(
      trees.map((tree) => {
        const batch = pack([tree], credit([tree]), { prune: true });
        return [...batch.targets, ...measureLogprobs(policy, batch)].join();
      }),
    );
    seen.length = 0;
    const metrics = run(policy, trees, { epochs: 3, rowsPerBatch: 1 });
    expect(metrics.steps).toBe(9);
    expect(seen).toHaveLength(9);
    expect(new Set(seen.map(({ targets, old }) => [...targets, ...old].join()))).toEqual(expected);
    expect(metrics.firstRatioError).toBe(0);

    // The same in one batch, whose order the shuffle changes from epoch to epoch.
    const sorted = (numbers: Floats) => [...numbers].sort((a, b) => a - b);
    const before = sorted(measureLogprobs(policy, pack(trees, credit(trees), { prune: true })));
    seen.length = 0;
    expect(run(policy, trees, { epochs: 4, rowsPerBatch: 100 })).toMatchObject({ steps: 4, firstRatioError: 0 });
    expect(new Set(seen.map(({ targets }) => targets.join())).size).toBeGreaterThan(1);
    for (const { old } of seen) expect(sorted(old)).toEqual(before);
  });

  it("reports what its first step did, worked by hand", () => {
    // Advantages (1, 0) become ± 0.5 / (√0.5 + eps) = ± 0.7070; the tokens 2 and 3 of the success get +, 4 alone −.
    const policy = table(reference());
    const tree = draw("1\n  2 3 → 1\n  4 → 0");
    const metrics = run(policy, [tree]);
    const A = 0.5 / (Math.SQRT1_2 + 1e-4);
    expect(metrics).toMatchObject({ steps: 1, clipFraction: 0, approxKl: 0, firstRatioError: 0 });
    // Targets: 3, credited tokens: 3, ratios 1.
    expect(metrics.loss).toBeCloseTo(-(2 * A - A) / 3, 6);
    expect(metrics.entropy).toBeCloseTo(Math.log(6), 12);
    // Positions 1 and 2 of each forward pass: one for the old log-probs, one for the step.
    expect(metrics.positions).toBe(4);
    // d loss / d logits of row "1": −A/3 (e₂ − p) + A/3 (e₄ − p); of row "1 2": −A/3 (e₃ − p); p = 1/6.
    expect(metrics.gradNorm).toBeCloseTo((A / 3) * Math.sqrt(2 + 5 / 6), 6);
    const [first, second] = [valuesOf(policy).slice(0, 6), valuesOf(policy).slice(6, 12)];
    expect([...first].map(Math.sign)).toEqual([0, 0, 1, 0, -1, 0]);
    expect([...second].map(Math.sign)).toEqual([-1, -1, -1, 1, -1, -1]);
  });

  it("clips where the policy has moved far, and moves no further there", () => {
    const policy = table();
    const metrics = run(policy, [mixed], { epochs: 30 });
    expect(metrics.clipFraction).toBeGreaterThan(0.3);
    expect(metrics.approxKl).toBeGreaterThan(0);
    expect(metrics.entropy).toBeLessThan(Math.log(6));
    const free = table();
    run(free, [mixed], { epochs: 30, epsLow: 1, epsHigh: 1e6 });
    const size = (values: Float64Array) => Math.hypot(...values);
    expect(size(valuesOf(policy))).toBeLessThan(size(valuesOf(free)));
  });

  it("makes the rewarded solution likelier and the punished one less likely", () => {
    const policy = table();
    run(policy, [mixed], { epochs: 2 });
    const batch = pack([mixed]);
    const logprobs = byTarget(batch, measureLogprobs(policy, batch));
    expect(logprobs.get("1 → 2")).toBeGreaterThan(-Math.log(6));
    expect(logprobs.get("1 2 → 3")).toBeGreaterThan(-Math.log(6));
    expect(logprobs.get("1 2 → 4")).toBeLessThan(-Math.log(6));
    expect(logprobs.get("1 → 5")).toBeLessThan(-Math.log(6));
  });

  it.each([
    ["all succeeded", "1\n  2 3 → 1\n  4 → 1"],
    ["all failed", "1\n  2 3 → 0\n  4 → 0, 0"],
    ["all earned the same third", `1\n  2 3 → ${1 / 3}\n  4 → ${1 / 3}, ${1 / 3}`],
    ["none could be verified", "1\n  2 3 → ?\n  4 → ?"],
    ["one failed alone", "1\n  2 3 → 0"],
  ])("makes no step and changes no bit where %s", (_, drawing) => {
    const policy = table();
    run(policy, [mixed]);
    const before = valuesOf(policy);
    for (const rule of ["outcome", "contrast", "positiveOnly", "valueDifference"] as const) {
      const metrics = run(policy, [draw(drawing)], { epochs: 2 }, { ...byOutcome, rule });
      expect(Object.values(metrics)).toEqual(Object.values(metrics).map(() => 0));
    }
    expect(valuesOf(policy)).toEqual(before);
  });

  it("makes the same step of a batch in several passes as in one", () => {
    const next = random(5);
    const trees = Array.from({ length: 12 }, () => randomTree(next));
    const rules: SuperviseConfig = { ...byOutcome, rule: "contrast" };
    const results = [0, 1, 30].map((positionsPerPass) => {
      const policy = smallTransformer(openOps("cpu"));
      const optimizer = new AdamW({ lr: 0.01 });
      const config = { ...settings, epochs: 2, rowsPerBatch: 12, positionsPerPass };
      const metrics = update(policy, optimizer, trees, credit(trees, rules), config, random(1));
      return { metrics, values: valuesOf(policy) };
    });
    const [whole, ...parted] = results;
    expect(whole.metrics.steps).toBeGreaterThan(2);
    for (const { metrics, values } of parted) {
      expect(relativeError(values, whole.values)).toBeLessThan(1e-5);
      expect(metrics.steps).toBe(whole.metrics.steps);
      expect(metrics.positions).toBe(whole.metrics.positions);
      for (const name of ["loss", "clipFraction", "approxKl", "entropy", "gradNorm"] as const) {
        expect(metrics[name], name).toBeCloseTo(whole.metrics[name], 4);
      }
    }
  });

  it("leaves out the groups that carry no credit: they change neither steps nor parameters", () => {
    const silent = draw("3\n  1 1 → 1\n  2 → 1");
    const [alone, beside] = [table(), table()];
    const metrics = run(alone, [mixed], { epochs: 2 });
    const also = update(
      beside,
      new AdamW({ lr: 0.2 }),
      [mixed, silent],
      credit([mixed, silent]),
      { ...settings, epochs: 2 },
      random(1),
    );
    expect(also).toEqual(metrics);
    expect(valuesOf(beside)).toEqual(valuesOf(alone));
  });

  it("learns from a group of one: its outcome is its advantage", () => {
    const policy = table();
    const metrics = run(policy, [draw("1\n  2 3 → 1")]);
    expect(metrics.steps).toBe(1);
    expect(metrics.loss).toBeCloseTo(-1, 3);
    const batch = pack([draw("1\n  2 3 → 1")]);
    for (const logprob of measureLogprobs(policy, batch)) expect(logprob).toBeGreaterThan(-Math.log(6));
  });
});
