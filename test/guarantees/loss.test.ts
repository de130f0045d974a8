/** What users of such libraries were bitten by, guarantees 19 to 21 and 33: what a loss is divided by, and its twin. */
import { describe, expect, it } from "vitest";
import { linearPolicyUpdate } from "../../src/linear-policy-update.ts";
import { constantDenominator, sequenceMeanTokenMean, tokenMean, type Normaliser } from "../../src/normaliser.ts";
import { cpuIsas, openOps } from "../../src/ops/native.ts";
import type { Floats, Ops, PolicyLossResult } from "../../src/ops/ops.ts";
import { reference } from "../../src/ops/reference.ts";
import { grpo } from "../../src/trajectory/index.ts";
import { clipForms, lossForms } from "../support/cases/loss-family.ts";
import { pick, random } from "../support/random.ts";

const next = random(19);
const normal = () => next() + next() + next() - 1.5;
const f64 = (length: number, value: (n: number) => number) => Float64Array.from({ length }, (_, n) => value(n));

/** Sequences of 1 to 9 targets whose policy has moved. */
function batch(B: number) {
  const lengths = Array.from({ length: B }, () => 1 + pick(next, 9));
  const sequenceOffsets = offsetsOf(lengths);
  const N = sequenceOffsets[B];
  const oldLogprobs = f64(N, () => -0.01 - Math.abs(normal()));
  return {
    lengths,
    sequenceOffsets,
    oldLogprobs,
    logprobs: oldLogprobs.map((x) => Math.min(-0.001, x + 0.3 * normal())),
    advantages: f64(N, normal),
  };
}

function offsetsOf(lengths: readonly number[]): Int32Array {
  const offsets = new Int32Array(lengths.length + 1);
  lengths.forEach((length, b) => (offsets[b + 1] = offsets[b] + length));
  return offsets;
}

/** 0 = cuts[0] < … < cuts[k] = B at random places. */
function randomSplit(B: number): number[] {
  const cuts = Array.from({ length: B - 1 }, (_, b) => b + 1).filter(() => next() < 0.4);
  return [0, ...cuts, B];
}

const normalisers: Readonly<Record<string, (offsets: Int32Array, whole: Int32Array) => Normaliser>> = {
  tokenMean: (offsets, whole) => tokenMean(offsets, { globalTokens: whole[whole.length - 1] }),
  sequenceMeanTokenMean: (offsets, whole) => sequenceMeanTokenMean(offsets, { globalSequences: whole.length - 1 }),
  constantDenominator: (offsets, whole) =>
    constantDenominator(offsets, { constant: (32 * (whole.length - 1)) / (offsets.length - 1) }),
};

describe("19: any split into micro-batches adds up to the whole batch", () => {
  const ops = reference();
  for (const form of [...clipForms, ...lossForms]) {
    it.each(Object.entries(normalisers))(`policyLoss.${form.op}, ${form.name}, by %s`, (_name, normalise) => {
      for (let trial = 0; trial < 5; trial++) {
        const whole = batch(8);
        const { weights } = normalise(whole.sequenceOffsets, whole.sequenceOffsets);
        const expected = form.run(ops, { ...whole, weights });
        const cuts = randomSplit(8);
        let loss = 0;
        const gradient: number[] = [];
        for (let k = 0; k + 1 < cuts.length; k++) {
          const sequenceOffsets = offsetsOf(whole.lengths.slice(cuts[k], cuts[k + 1]));
          const [start, end] = [whole.sequenceOffsets[cuts[k]], whole.sequenceOffsets[cuts[k + 1]]];
          const part = form.run(ops, {
            oldLogprobs: whole.oldLogprobs.slice(start, end),
            logprobs: whole.logprobs.slice(start, end),
            advantages: whole.advantages.slice(start, end),
            sequenceOffsets,
            weights: normalise(sequenceOffsets, whole.sequenceOffsets).weights,
          });
          loss += part.metrics.loss;
          gradient.push(...part.dlogprobs);
        }
        expect(Math.abs(loss - expected.metrics.loss)).toBeLessThan(1e-12);
        gradient.forEach((d, n) => expect(Math.abs(d - expected.dlogprobs[n])).toBeLessThan(1e-12));
      }
    });
  }
});

describe("20: a denominator is a number that is named and returned, never the padded width", () => {
  it("is the same however much longer another sequence is", () => {
    const short = constantDenominator(Int32Array.of(0, 2, 5), { constant: 32 });
    const long = constantDenominator(Int32Array.of(0, 2, 500), { constant: 32 });
    expect(Array.from(short.denominators)).toEqual([64, 64]);
    expect(Array.from(long.denominators)).toEqual([64, 64]);
  });

  it("has to be given where it is a constant", () => {
    const zero = { constant: 0 };
    expect(() => constantDenominator(Int32Array.of(0, 2), zero)).toThrow(RangeError);
    expect(Array.from(tokenMean(Int32Array.of(0, 2, 6)).denominators)).toEqual([6, 6]);
    expect(Array.from(sequenceMeanTokenMean(Int32Array.of(0, 2, 6)).denominators)).toEqual([4, 8]);
  });
});

/** A small head with its targets: two in row 0, none in row 1, one in each other row. */
function head() {
  const [T, H, V] = [9, 5, 23];
  const counts = Array.from({ length: T }, (_, t) => (t === 0 ? 2 : t === 1 ? 0 : 1));
  const targetOffsets = offsetsOf(counts);
  const N = targetOffsets[T];
  return {
    T,
    H,
    V,
    N,
    hidden: Float32Array.from({ length: T * H }, normal),
    weight: Float32Array.from({ length: V * H }, normal),
    bias: Float32Array.from({ length: V }, normal),
    targetOffsets,
    targets: Int32Array.from({ length: N }, () => pick(next, V)),
    entropyWeights: Float32Array.from({ length: T }, (_, t) => (t % 3 === 0 ? 0 : 0.01)),
    sequenceOffsets: Int32Array.of(0, 4, 4, N),
  };
}

describe.each(cpuIsas())("21: a loss on a linear head is the same composed with its logits, on %s", (isa) => {
  const ops: Ops = openOps("cpu", { isa, blas: false });
  it.each([...clipForms, ...lossForms])("$op, $name", (form) => {
    const { T, H, V, N, sequenceOffsets, entropyWeights, ...rows } = head();
    const measured = ops.linearLogprobs(rows).logprobs;
    const targets = {
      oldLogprobs: measured.map((x) => Math.min(-0.001, x + 0.2 * normal())),
      refLogprobs: measured.map((x) => x + 0.2 * normal()),
      advantages: Float32Array.from({ length: N }, normal),
      weights: new Float32Array(N).fill(1 / N),
      multipliers: Float32Array.from({ length: N }, next),
      kl: { estimator: "k3", coefficient: 0.1 },
      sequenceOffsets,
    } as const;
    const loss = (logprobs: Floats): PolicyLossResult => form.run(ops, { ...targets, logprobs });
    const [dhidden, dweight, dbias] = [T * H, V * H, V].map((length) => new Float32Array(length));
    const fused = linearPolicyUpdate(ops, { ...rows, entropyWeights, dhidden, dweight, dbias }, loss);

    const logits = new Float32Array(T * V);
    ops.linear({ x: rows.hidden, weight: rows.weight, bias: rows.bias, rows: T, y: logits });
    const { targetOffsets, targets: ids } = rows;
    const dense = form.update(ops, { ...targets, logits, targetOffsets, targets: ids, entropyWeights });
    const expected = { x: new Float32Array(T * H), weight: new Float32Array(V * H), bias: new Float32Array(V) };
    ops.linearBackward({
      x: rows.hidden,
      weight: rows.weight,
      rows: T,
      dy: dense.dlogits,
      dx: expected.x,
      dweight: expected.weight,
      dbias: expected.bias,
    });
    const near = (got: Floats, want: Floats) => got.forEach((d, i) => expect(d).toBeCloseTo(want[i], 5));
    near(fused.logprobs, dense.logprobs);
    near(dhidden, expected.x);
    near(dweight, expected.weight);
    near(dbias, expected.bias);
    expect(fused.metrics.loss).toBeCloseTo(dense.metrics.loss, 5);
  });
});

describe("33: a group without a signal is left out of the mean, with its KL", () => {
  const ops = reference();
  const lengths = [2, 3, 4, 1];
  const advantages = grpo({ outcomes: [1, 0, 1, 1], groups: [0, 0, 1, 1] }); // the second group agrees
  const offsets = offsetsOf(lengths);
  const owner = lengths.flatMap((length, b) => new Array<number>(length).fill(b));
  const args = {
    logprobs: f64(10, () => -0.5 - next()),
    oldLogprobs: f64(10, () => -0.5 - next()),
    refLogprobs: f64(10, () => -0.5 - next()),
    advantages: Float64Array.from(owner, (b) => advantages[b]),
    epsLow: 0.2,
    epsHigh: 0.2,
    kl: { estimator: "k3", coefficient: 0.5 } as const,
  };

  it("by a mask from the advantages, and a denominator of what is left", () => {
    expect(advantages[2]).toBe(0);
    const kept = lengths.map((length, b) => (advantages[b] === 0 ? 0 : length));
    const { weights: present } = tokenMean(offsetsOf(kept));
    const weights = new Float64Array(10);
    weights.set(present); // the kept sequences come first
    const filtered = ops.policyLoss.clip({ ...args, weights });
    expect(Array.from(filtered.dlogprobs.subarray(5))).toEqual([0, 0, 0, 0, 0]);
    expect(filtered.metrics.count).toBe(5);

    const alone = Object.fromEntries(
      Object.entries(args).map(([name, value]) => [name, value instanceof Float64Array ? value.slice(0, 5) : value]),
    ) as unknown as typeof args;
    const expected = ops.policyLoss.clip({ ...alone, weights: present });
    expect(filtered.metrics.loss).toBe(expected.metrics.loss);

    const diluted = ops.policyLoss.clip({ ...args, weights: tokenMean(offsets).weights });
    expect(diluted.dlogprobs.subarray(5).every((d) => d !== 0)).toBe(true); // what the filter is for
  });
});
