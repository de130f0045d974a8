import { describe, expect, it } from "vitest";
import { creditedTokens, packSequences } from "../src/batch.ts";
import { openOps } from "../src/ops/native.ts";
import type { Floats, KlEstimator, Ops } from "../src/ops/ops.ts";
import { reference } from "../src/ops/reference.ts";
import { AdamW } from "../src/optimizer.ts";
import type { Policy } from "../src/policy.ts";
import { TablePolicy } from "../src/policies/table.ts";
import { measureLogprobs } from "../src/reference.ts";
import {
  completionOf,
  createTree,
  graft,
  grpo,
  leafCredits,
  sumCredits,
  supervise,
  type SuperviseConfig,
  type Supervision,
  type Tree,
} from "../src/trajectory/index.ts";
import { perSolution, update, type KlPenalty, type UpdateConfig, type UpdateMetrics } from "../src/update.ts";
import { centralDifferences } from "./support/differences.ts";
import { draw } from "./support/draw.ts";
import { relativeError, smallTransformer, valuesOf } from "./support/policies.ts";
import { random } from "./support/random.ts";

const settings: UpdateConfig = { epochs: 1, rowsPerBatch: 100, epsLow: 0.2, epsHigh: 0.2 };
const byOutcome: SuperviseConfig = { rule: "outcome", advantage: (outcomes) => grpo({ outcomes }) };
const credit = (trees: readonly Tree[]) => trees.map((tree) => supervise(tree, byOutcome));
// The first step is shared by two solutions, another by three.
const trees = [
  draw("1\n  2\n    3 → 1\n    4 5 → 0\n  5 → 0"),
  draw("2 1\n  4\n    3 → 1\n    3 2 → 0\n    1 → 1\n  2 → 0"),
];

/** A table that has learned something, so that it is not its reference. */
function moved(ops: Ops) {
  const policy = new TablePolicy({ vocabulary: 6, contexts: 20 }, ops);
  const optimizer = new AdamW({ lr: 0.3 });
  const learn = (steps: number, config: Partial<UpdateConfig> = {}) =>
    update(policy, optimizer, trees, credit(trees), { ...settings, epochs: steps, ...config }, random(1));
  learn(3);
  const before = policy.reference();
  learn(4);
  return { policy, before };
}

/** The gradient of the first step, which is not made. */
function gradientOf(
  policy: Policy,
  given: readonly Tree[],
  supervisions: readonly Supervision[],
  kl: KlPenalty,
  from: Parameters<typeof update>[6],
): { metrics: UpdateMetrics; gradient: Floats } {
  let gradient: Floats = new Float64Array(0);
  const seen = { step: (_: Ops, __: Floats, grads: Floats) => ((gradient = grads.slice()), 0) };
  const metrics = update(policy, seen, given, supervisions, { ...settings, kl }, random(1), from);
  return { metrics, gradient };
}

const estimates: Readonly<Record<KlEstimator, (d: number) => number>> = {
  k1: (d) => -d,
  k2: (d) => (d * d) / 2,
  k3: (d) => Math.exp(d) - d - 1,
  abs: (d) => Math.abs(d),
  "k1+": (d) => -d,
  "k3+": (d) => Math.exp(d) - d - 1,
};

/** Every solution's tokens with credit, the solutions one by one. */
const solutions = trees.flatMap((tree) =>
  leafCredits(tree, byOutcome).map((credits, leaf) => ({
    tokens: [...tree.problem.prompt, ...completionOf(tree, leaf)],
    from: tree.problem.prompt.length,
    credits: [...credits],
  })),
);
const unrolled = packSequences(
  solutions.map(({ tokens }) => tokens),
  { from: solutions.map(({ from }) => from) },
);
const unrolledCredits = solutions.flatMap(({ credits }) => credits);

/** The penalty and the surrogate −A · ratio of the solutions one by one, divided by their tokens with credit. */
function lossOf(policy: Policy, old: Floats, referred: Floats, penalty: KlPenalty, k: (d: number) => number): number {
  const logprobs = measureLogprobs(policy, unrolled);
  const terms = unrolledCredits.map((A, n) => {
    if (A === 0) return 0;
    const ratio = Math.exp(logprobs[n] - old[n]);
    const factor = penalty.timesRatio === true ? ratio : 1;
    return -A * ratio + penalty.coefficient * factor * k(referred[n] - logprobs[n]);
  });
  return terms.reduce((sum, term) => sum + term, 0) / creditedTokens(credit(trees));
}

describe("an update with a KL penalty", () => {
  it.each([
    { coefficient: 0.7, estimator: "k1" },
    { coefficient: 0.7, estimator: "k2" },
    { coefficient: 0.7, estimator: "k3" },
    { coefficient: 0.7, estimator: "abs" },
    { coefficient: 0.7, estimator: "k3", timesRatio: true },
  ] as const)("has the loss of the solutions one by one and its slope, by %j", (kl) => {
    const { policy, before } = moved(reference());
    const [referred] = before.logprobs([unrolled]);
    const old = measureLogprobs(policy, unrolled);
    const { metrics, gradient } = gradientOf(policy, trees, credit(trees), kl, before);
    const loss = () => lossOf(policy, old, referred, kl, estimates[kl.estimator]);
    expect(metrics.loss).toBeCloseTo(loss(), 6);
    const { data } = policy.parameters()[0];
    const slopes = centralDifferences(loss, data as Float64Array);
    expect(relativeError(gradient, slopes)).toBeLessThan(1e-6);
    // What the penalty adds is not lost in that.
    const without = centralDifferences(() => lossOf(policy, old, referred, kl, () => 0), data as Float64Array);
    expect(relativeError(without, slopes)).toBeGreaterThan(0.05);
  });

  it.each(["k1+", "k3+"] as const)("by %s has the value of one estimator and the slope of k2", (estimator) => {
    const { policy, before } = moved(reference());
    const [referred] = before.logprobs([unrolled]);
    const old = measureLogprobs(policy, unrolled);
    const kl = { coefficient: 0.7, estimator };
    const { metrics, gradient } = gradientOf(policy, trees, credit(trees), kl, before);
    expect(metrics.loss).toBeCloseTo(lossOf(policy, old, referred, kl, estimates[estimator]), 6);
    expect(gradient).toEqual(gradientOf(policy, trees, credit(trees), { ...kl, estimator: "k2" }, before).gradient);
  });

  it("is the same of packed trees and of their solutions unrolled", () => {
    const kl = { coefficient: 2, estimator: "k3" } as const;
    const { policy, before } = moved(reference());
    const packed = gradientOf(policy, trees, credit(trees), kl, before);
    const alone = trees.flatMap((tree) =>
      leafCredits(tree, byOutcome).map((credits, leaf) => {
        const single = createTree(tree.problem);
        graft(single, 0, [completionOf(tree, leaf)], { source: "rollout" });
        return { single, supervision: sumCredits(single, [credits]) };
      }),
    );
    const apart = gradientOf(
      policy,
      alone.map(({ single }) => single),
      alone.map(({ supervision }) => supervision),
      kl,
      before,
    );
    expect(relativeError(packed.gradient, apart.gradient)).toBeLessThan(1e-6);
    expect(packed.metrics.loss).toBeCloseTo(apart.metrics.loss, 6);
  });

  it("computes the same natively as in float64", () => {
    const kl = { coefficient: 0.7, estimator: "k3" } as const;
    const [native, exact] = [openOps("cpu"), reference()].map((ops) => {
      const { policy, before } = moved(ops);
      return gradientOf(policy, trees, credit(trees), kl, before);
    });
    expect(relativeError(native.gradient, exact.gradient)).toBeLessThan(1e-4);
    expect(native.metrics.kl).toBeCloseTo(exact.metrics.kl!, 5);
    expect(exact.metrics.kl).toBeGreaterThan(0.01);
  });

  it("is 0 before the first step, and nothing to the gradient then", () => {
    for (const policy of [new TablePolicy({ vocabulary: 6, contexts: 20 }), smallTransformer(openOps("cpu"))]) {
      const kl = { coefficient: 10, estimator: "k3" } as const;
      const { metrics, gradient } = gradientOf(policy, trees, credit(trees), kl, policy.reference());
      expect(metrics.kl).toBe(0);
      const free = { coefficient: 0, estimator: "k3" } as const;
      expect(gradient).toEqual(gradientOf(policy, trees, credit(trees), free, policy.reference()).gradient);
    }
  });

  it("keeps the policy nearer to where it was, the more the larger the coefficient", () => {
    const distances = [undefined, 0.05, 0.5].map((coefficient) => {
      const policy = smallTransformer(openOps("cpu"));
      const before = policy.reference();
      const kl = coefficient === undefined ? {} : { kl: { coefficient, estimator: "k3" as const } };
      update(
        policy,
        new AdamW({ lr: 0.01 }),
        trees,
        credit(trees),
        { ...settings, epochs: 12, ...kl },
        random(1),
        before,
      );
      const [referred] = before.logprobs([unrolled]);
      const logprobs = measureLogprobs(policy, unrolled);
      return [...referred].reduce((sum, each, n) => sum + estimates.k3(each - logprobs[n]), 0) / referred.length;
    });
    expect(distances).toEqual(distances.toSorted((a, b) => b - a));
    expect(distances[2]).toBeLessThan(0.2 * distances[0]);
  });

  it("counts a target once per solution that gave it credit, and one that no step owns once", () => {
    const contributions = Float32Array.of(2, 1);
    const stepOf = Int32Array.of(0, -1, 1);
    const weights = Float32Array.of(0.5, 0.25, 0.25);
    expect(perSolution({ contributions, stepOf, weights })).toEqual({
      weights: Float32Array.of(1, 0.25, 0.25),
      multipliers: Float32Array.of(0.5, 1, 1),
    });
  });

  it("adds up over passes as it is in one", () => {
    const kl = { coefficient: 1, estimator: "k3" } as const;
    const results = [0, 1].map((positionsPerPass) => {
      const policy = smallTransformer(openOps("cpu"));
      const config = { ...settings, epochs: 4, positionsPerPass, kl };
      const metrics = update(
        policy,
        new AdamW({ lr: 0.01 }),
        trees,
        credit(trees),
        config,
        random(1),
        policy.reference(),
      );
      return { metrics, values: valuesOf(policy) };
    });
    const [whole, parted] = results;
    expect(relativeError(parted.values, whole.values)).toBeLessThan(1e-5);
    expect(parted.metrics.kl).toBeCloseTo(whole.metrics.kl!, 5);
    expect(whole.metrics.kl).toBeGreaterThan(0);
  });

  it("needs a reference, and reports no distance without a penalty", () => {
    const policy = new TablePolicy({ vocabulary: 6, contexts: 20 });
    const run = (config: UpdateConfig) =>
      update(policy, new AdamW({ lr: 0.1 }), trees, credit(trees), config, random(1));
    expect(() => run({ ...settings, kl: { coefficient: 1, estimator: "k3" } })).toThrow(
      "update: expected a reference with kl, received none",
    );
    expect(run(settings)).not.toHaveProperty("kl");
  });
});
