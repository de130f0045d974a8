import { describe, expect, it } from "vitest";
import { pack, packSequences, type Batch } from "../../src/batch.ts";
import { openOps } from "../../src/ops/native.ts";
import type { Ops } from "../../src/ops/ops.ts";
import { reference } from "../../src/ops/reference.ts";
import type { Policy } from "../../src/policy.ts";
import type { TransformerConfig } from "../../src/policies/transformer.ts";
import { measureLogprobs } from "../../src/reference.ts";
import {
  completionOf,
  createTree,
  graft,
  leafCredits,
  sumCredits,
  supervise,
  type SuperviseConfig,
  type Tree,
} from "../../src/trajectory/index.ts";
import { bits } from "../support/close.ts";
import { dot, expectGradient } from "../support/differences.ts";
import { draw } from "../support/draw.ts";
import {
  byTarget,
  clearGradient,
  gradientOf,
  relativeError,
  smallTransformer,
  targetNames,
} from "../support/policies.ts";
import { random } from "../support/random.ts";

const tree = draw(`
  1 2 3
    4 5
      6 7 → 1
      6 8 → 0
      9 → 0, 0
    4 6 → 0
      7 → 1
      3 2 1 → 0
        5 → 1 repair of 6
    10 10 → 0
`);

/** Credits that float32 holds exactly, also when they are summed. */
const rules = (rule: SuperviseConfig["rule"]): SuperviseConfig => ({
  rule,
  advantage: (outcomes) => outcomes.map((outcome) => (outcome > 0.5 ? 0.75 : -0.5)),
});

const normaliser = 16;

function differences(config: Partial<TransformerConfig>): void {
  const tiny = {
    vocabulary: 7,
    hidden: 6,
    layers: 1,
    heads: 2,
    kvHeads: 2,
    headSize: 4,
    intermediate: 5,
    maxPositions: 6,
  };
  const policy = smallTransformer(reference(), { ...tiny, ...config });
  const batch = pack([draw("1 2\n  3 4\n    5 6 → 1\n    5 → 0\n  3 → 1\n    2 → 0")]);
  const draws = random(5);
  const dlogprobs = Float64Array.from(batch.targets, () => draws() - 0.5);
  const { targetOffsets, targets } = batch;
  const pass = policy.forward(batch);
  const { lse } = policy.ops.logprobs({ logits: pass.logits, targetOffsets, targets });
  pass.backward(policy.ops.logprobsBackward({ logits: pass.logits, targetOffsets, targets, lse, dlogprobs }));
  for (const { name, data, grad } of policy.parameters()) {
    expectGradient(grad.slice(), () => dot(measureLogprobs(policy, batch), dlogprobs), data as Float64Array, name);
  }
}

describe("the gradient of a transformer is the slope of its log-probs", () => {
  it("with a head per key", () => differences({}));
  it("with grouped queries", () => differences({ heads: 4, kvHeads: 2 }));
  it("with the embedding as its head", () => differences({ tieEmbeddings: true }));
  it("with a table of positions", () => differences({ positionTable: true }));
  it("with two layers, and heads as wide as their share of the model", () =>
    differences({ layers: 2, heads: 3, kvHeads: 1, headSize: 2 }));
});

/** What a clipped update gives for batches together. */
function updateGradient(policy: Policy, batches: readonly Batch[], old: ReadonlyMap<string, number>) {
  clearGradient(policy);
  const logprobs = new Map<string, number>();
  const clipped = { positive: 0, negative: 0 };
  for (const batch of batches) {
    const { stepCredits, stepOf, targetOffsets, targets, weights } = batch;
    const pass = policy.forward(batch);
    const oldLogprobs = policy.ops.allocate(targets.length);
    oldLogprobs.set(targetNames(batch).map((name) => old.get(name) ?? NaN));
    const result = policy.ops.policyUpdate.clip({
      logits: pass.logits,
      dlogits: pass.logits,
      targetOffsets,
      targets,
      oldLogprobs,
      advantages: policy.ops.scatterAdvantages({ stepCredits, stepOf }),
      weights,
      epsLow: 0.2,
      epsHigh: 0.25,
    });
    pass.backward(pass.logits);
    for (const [name, logprob] of byTarget(batch, result.logprobs)) logprobs.set(name, logprob);
    clipped.positive += result.metrics.clipFractionHigh * result.metrics.count;
    clipped.negative += result.metrics.clipFractionLow * result.metrics.count;
  }
  return { logprobs, gradient: gradientOf(policy), clipped };
}

/** Every solution as a tree of its own, in one step. */
function unrolled(whole: Tree, credits: readonly Float64Array[]): Batch[] {
  return whole.leaves.map((_, leaf) => {
    const alone = createTree(whole.problem);
    graft(alone, 0, [completionOf(whole, leaf)], { source: "rollout" });
    return pack([alone], [sumCredits(alone, [credits[leaf]])], { normaliser });
  });
}

/** Old log-probs off the policy's own by up to ± 0.5: ratios far from 1, some of them clipped. */
function oldLogprobs(policy: Policy, batch: Batch): Map<string, number> {
  const draws = random(3);
  const own = byTarget(batch, measureLogprobs(policy, batch));
  return new Map([...own].map(([name, logprob]) => [name, logprob + draws() - 0.5]));
}

const backends: readonly { readonly name: string; readonly open: () => Ops; readonly bound: number }[] = [
  { name: "the reference", open: () => reference(), bound: 1e-12 },
  { name: "the native ops", open: () => openOps("cpu"), bound: 1e-5 },
  { name: "the native ops with the portable product", open: () => openOps("cpu", { blas: false }), bound: 1e-5 },
];

describe.each(backends)("on $name", ({ open, bound }) => {
  it.each(["outcome", "contrast"] as const)(
    "a packed tree has the log-probs and gradients of its solutions one by one: %s",
    (rule) => {
      const policy = smallTransformer(open(), { positionTable: true });
      const credits = leafCredits(tree, rules(rule));
      const packed = pack([tree], [sumCredits(tree, credits)], { normaliser });
      const old = oldLogprobs(policy, packed);
      const together = updateGradient(policy, [packed], old);
      const alone = updateGradient(policy, unrolled(tree, credits), old);
      const names = [...alone.logprobs.keys()];
      expect([...together.logprobs.keys()].toSorted()).toEqual(names.toSorted());
      const values = (from: ReadonlyMap<string, number>) => names.map((name) => from.get(name) ?? NaN);
      expect(relativeError(values(together.logprobs), values(alone.logprobs))).toBeLessThan(bound);
      expect(relativeError(together.gradient, alone.gradient)).toBeLessThan(bound);
      expect(together.clipped.positive).toBeGreaterThan(0);
      expect(together.clipped.negative).toBeGreaterThan(0);
    },
  );

  it("the order of siblings changes nothing", () => {
    const policy = smallTransformer(open());
    const steps = tree.steps.map((step) => ({ ...step, children: step.children.toReversed() }));
    const [there, back] = [tree, { ...tree, steps }].map((one) =>
      pack([one], [supervise(one, rules("contrast"))], { normaliser }),
    );
    expect([...back.tokens]).not.toEqual([...there.tokens]);
    const old = oldLogprobs(policy, there);
    const forward = updateGradient(policy, [there], old);
    const mirrored = updateGradient(policy, [back], old);
    expect(relativeError(mirrored.gradient, forward.gradient)).toBeLessThan(bound);
    for (const [name, logprob] of forward.logprobs) expect(mirrored.logprobs.get(name)).toBeCloseTo(logprob, 5);
  });

  it("a tree without branches is an ordinary sequence", () => {
    const policy = smallTransformer(open());
    const [sequence, chain] = [
      packSequences([[1, 2, 3, 4, 5, 6]], { from: [2] }),
      pack([draw("1 2\n  3\n    4 5\n      6 → 1")], undefined, { normaliser: 4 }),
    ];
    expect(bits(measureLogprobs(policy, chain))).toBe(bits(measureLogprobs(policy, sequence)));
    expect({ ...chain, stepCredits: [] }).toEqual({ ...sequence, stepCredits: [] });
  });

  it("zero credit gives a gradient of exactly zero", () => {
    const policy = smallTransformer(open());
    const packed = pack([tree], [supervise(tree, { rule: "outcome", advantage: (all) => all.map(() => 0) })], {
      normaliser,
    });
    const { gradient, logprobs } = updateGradient(policy, [packed], oldLogprobs(policy, packed));
    expect(logprobs.size).toBeGreaterThan(0);
    expect(gradient.every((x) => x === 0)).toBe(true);
  });
});

describe("with the portable product", () => {
  it("a tree has the same log-probs alone and in a forest, to the bit", () => {
    const policy = smallTransformer(openOps("cpu", { blas: false }));
    const others = [draw("5 1 2\n  7 8 9 → 1\n  7 8 1 → 0"), draw("2\n  3 → 1")];
    const alone = measureLogprobs(policy, pack([tree]));
    const forest = measureLogprobs(policy, pack([others[0], tree, others[1], tree]));
    const before = pack([others[0]]).targets.length;
    const between = pack([others[1]]).targets.length;
    for (const start of [before, before + alone.length + between]) {
      expect(bits(forest.subarray(start, start + alone.length))).toBe(bits(alone));
    }
  });
});

describe("a clone", () => {
  it("gives the same log-probs and shares nothing", () => {
    const policy = smallTransformer(openOps("cpu"));
    const batch = pack([tree]);
    const before = measureLogprobs(policy, batch);
    const copy = policy.clone();
    expect(bits(measureLogprobs(copy, batch))).toBe(bits(before));
    for (const { data, grad } of copy.parameters()) {
      data.fill(0.5);
      grad.fill(1);
    }
    expect(bits(measureLogprobs(policy, batch))).toBe(bits(before));
    expect(gradientOf(policy).every((x) => x === 0)).toBe(true);
  });
});
