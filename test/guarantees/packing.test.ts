/** What users of such libraries were bitten by, guarantees 15 to 18: sequence ends, padding, what lies beside the tokens. */
import { describe, expect, it } from "vitest";
import { packSequences } from "../../src/batch.ts";
import { constantDenominator, promptMean, sequenceMeanTokenMean, tokenMean, tokenSum } from "../../src/normaliser.ts";
import { cpuIsas, openOps } from "../../src/ops/native.ts";
import type { Ops } from "../../src/ops/ops.ts";
import { reference } from "../../src/ops/reference.ts";
import { clipForms, familyArguments, lossForms, sharedVariants } from "../support/cases/loss-family.ts";
import { vacate } from "../support/cases/loss.ts";
import { bits } from "../support/close.ts";
import { pick, random } from "../support/random.ts";

const forms = [...clipForms, ...lossForms];
const backends: readonly (readonly [string, () => Ops])[] = [
  ["reference", () => reference()],
  ...cpuIsas().map((isa) => [isa, () => openOps("cpu", { isa })] as const),
];

describe("15: no label crosses the end of a sequence", () => {
  const next = random(15);
  const V = 11;
  const sequences = [4, 1, 7, 2].map((length) => Array.from({ length }, () => pick(next, V)));
  /** A row of logits for every token, which depends on that token and its place alone. */
  const logitsOf = (tokens: ArrayLike<number>, depth: ArrayLike<number>) =>
    Float32Array.from({ length: tokens.length * V }, (_, i) => {
      const t = Math.floor(i / V);
      return Math.sin(1 + tokens[t] * 7 + depth[t] * 3 + (i % V));
    });

  it.each(backends)("packed sequences have the log-probs and gradients of each by itself, on %s", (_name, open) => {
    const ops = open();
    const packed = packSequences(sequences, { weight: 1 });
    const update = ({ tokens, depth, targetOffsets, targets, weights }: typeof packed) => {
      const oldLogprobs = new Float32Array(targets.length).fill(-2);
      const advantages = Float32Array.from(targets, (target) => target - 5);
      const rows = { logits: logitsOf(tokens, depth), targetOffsets, targets };
      return ops.policyUpdate.clip({ ...rows, oldLogprobs, advantages, weights, epsLow: 0.2, epsHigh: 0.2 });
    };
    const together = update(packed);
    const apart = sequences.map((sequence) => update(packSequences([sequence], { weight: 1 })));
    expect(Array.from(together.logprobs)).toEqual(apart.flatMap(({ logprobs }) => Array.from(logprobs)));
    expect(Array.from(together.dlogits)).toEqual(apart.flatMap(({ dlogits }) => Array.from(dlogits)));
  });

  it("the last token of a sequence predicts nothing", () => {
    const { targetOffsets, targets } = packSequences(sequences);
    expect(Array.from(targets)).toEqual(sequences.flatMap((sequence) => sequence.slice(1)));
    let end = 0;
    for (const { length } of sequences) {
      end += length;
      expect(targetOffsets[end]).toBe(targetOffsets[end - 1]);
    }
  });
});

describe("16: validity comes from lengths, never from a token's id", () => {
  it("a token that pads or ends elsewhere is a target like any other", () => {
    const [pad, eos] = [0, 2];
    const { targets, weights } = packSequences([
      [5, eos, pad, eos],
      [pad, pad, 7],
    ]);
    expect(Array.from(targets)).toEqual([eos, pad, eos, pad, 7]);
    expect(weights.every((weight) => weight === weights[0] && weight > 0)).toBe(true);
  });

  it("renaming tokens renames the gradient and changes nothing else", () => {
    const ops = reference();
    const V = 4;
    const renamed = [2, 3, 0, 1];
    const update = (name: (token: number) => number) => {
      const logits = new Float64Array(2 * V);
      for (let t = 0; t < 2; t++) for (let v = 0; v < V; v++) logits[V * t + name(v)] = Math.cos(5 * t + v);
      return ops.policyUpdate.clip({
        logits,
        targetOffsets: Int32Array.of(0, 1, 2),
        targets: Int32Array.of(name(0), name(3)),
        oldLogprobs: Float64Array.of(-1, -2),
        advantages: Float64Array.of(1, -1),
        weights: Float64Array.of(0.5, 0.5),
        epsLow: 0.2,
        epsHigh: 0.2,
      });
    };
    const [given, other] = [update((v) => v), update((v) => renamed[v])];
    expect(other.metrics.loss).toBeCloseTo(given.metrics.loss, 14);
    for (let t = 0; t < 2; t++)
      for (let v = 0; v < V; v++) expect(other.dlogits[V * t + renamed[v]]).toBeCloseTo(given.dlogits[V * t + v], 14);
  });
});

describe.each(backends)("17: what an absent target holds changes no bit, on %s", (_name, open) => {
  const ops = open();
  const absent = [0, 1, 3, 30, 59];

  it.each(forms)("policyLoss.$op, $name", ({ run }) => {
    for (const [name, options] of sharedVariants) {
      const filled = (junk: number | undefined) => {
        const args = familyArguments(60, options);
        for (const n of absent) {
          vacate(args, n, junk);
          if (junk !== undefined) continue;
          const { logprobs, oldLogprobs, refLogprobs, multipliers, advantages } = args;
          for (const array of [logprobs, oldLogprobs, refLogprobs, multipliers]) array[n] = 0;
          advantages.fill(0, 2 * n, 2 * n + 2);
        }
        const { dlogprobs, metrics } = run(ops, args);
        for (const n of absent) expect(dlogprobs[n]).toBe(0);
        return [bits(dlogprobs), JSON.stringify(metrics)];
      };
      const zeros = filled(undefined);
      for (const junk of [0, 1, 2]) expect(filled(junk), name).toEqual(zeros);
    }
  });
});

describe.each(backends)("18: a batch without a target has loss 0 and gradient 0, on %s", (_name, open) => {
  const ops = open();
  it.each(forms)("policyLoss.$op, $name", ({ run, update }) => {
    for (const [, options] of sharedVariants) {
      const args = { ...familyArguments(12, options), weights: new Float32Array(12) };
      const { dlogprobs, metrics } = run(ops, args);
      expect(Array.from(dlogprobs)).toEqual(new Array(12).fill(0));
      expect(Object.values(metrics) as number[]).toEqual(new Array(12).fill(0));
    }
    const none = new Float32Array(0);
    const nothing = { oldLogprobs: none, refLogprobs: none, advantages: none, weights: none };
    const sequenceOffsets = Int32Array.of(0, 0, 0);
    expect(run(ops, { ...nothing, logprobs: none, sequenceOffsets }).metrics.loss).toBe(0);
    const rows = { logits: Float32Array.of(1, 2, 3, 4), targetOffsets: new Int32Array(3), targets: new Int32Array(0) };
    const fused = update(ops, { ...nothing, ...rows, sequenceOffsets });
    expect(fused.metrics.loss).toBe(0);
    expect(Array.from(fused.dlogits)).toEqual([0, 0, 0, 0]);
  });

  it("every normaliser stays finite for empty sequences alone", () => {
    const offsets = Int32Array.of(0, 0, 0);
    const all = [
      tokenMean(offsets),
      tokenSum(offsets),
      sequenceMeanTokenMean(offsets),
      sequenceMeanTokenMean(offsets, { emptySequences: "excluded" }),
      constantDenominator(offsets, { constant: 8 }),
      promptMean(offsets, { promptOffsets: Int32Array.of(0, 2) }),
    ];
    for (const { denominators, weights } of all) {
      expect(weights).toHaveLength(0);
      expect(denominators.every((denominator) => denominator > 0 && Number.isFinite(denominator))).toBe(true);
    }
  });
});
