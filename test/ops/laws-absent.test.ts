import { describe, expect, it } from "vitest";
import { cpuIsas, openOps } from "../../src/ops/native.ts";
import type { Floats, PolicyUpdateArguments } from "../../src/ops/ops.ts";
import { reference } from "../../src/ops/reference.ts";
import { awkwardRows } from "../support/cases/rows.ts";
import { clipVariants, lossArguments, vacate } from "../support/cases/loss.ts";
import { clipForms, familyArguments, lossForms, sharedVariants, valueArguments } from "../support/cases/loss-family.ts";
import { headLayouts, forests, treeInputs } from "../support/cases/attention.ts";
import { metricOutcome } from "../support/cases/op-case.ts";
import { sequences, updateArguments, updateScale } from "../support/cases/update.ts";
import { bits, expectClose } from "../support/close.ts";

const plain = reference(Math.fround);
const rows = awkwardRows.find(({ name }) => name === "V = 65")!; // rows of one, no, three and one targets

/** The update of `rows`, with row 0 absent in all it holds, its logits too. */
function withAbsentRow(junk: number): PolicyUpdateArguments {
  const loss = lossArguments(rows.targets.length);
  [0, 2].forEach((n) => vacate(loss, n, junk));
  const logits = rows.logits.slice();
  logits.fill([NaN, Infinity, -Infinity][junk], 0, rows.V);
  const { logprobs: _out, ...rest } = loss;
  return { ...rows, ...rest, logits };
}

describe.each(["reference", ...cpuIsas()])("%s", (isa) => {
  const ops = isa === "reference" ? reference() : openOps("cpu", { isa });

  describe.each(clipVariants)("an absent target, %s", (_name, options) => {
    it.each(["clip", "sequenceClip"] as const)("changes no bit of policyLoss.%s, whatever it holds", (kind) => {
      const results = [0, 1, 2].map((junk) => {
        const args = { ...lossArguments(60), ...options, sequenceOffsets: Int32Array.of(0, 3, 4, 20, 60) };
        for (const n of [0, 1, 3, 30, 59]) vacate(args, n, junk);
        const { dlogprobs, metrics } = ops.policyLoss[kind](args);
        for (const n of [0, 1, 3, 30, 59]) expect(dlogprobs[n]).toBe(0);
        return [bits(dlogprobs), JSON.stringify(metrics)];
      });
      expect(results[1]).toEqual(results[0]);
      expect(results[2]).toEqual(results[0]);
      expect(results[0][1]).not.toContain("null"); // JSON of NaN and infinities
    });

    it("changes no bit of policyUpdate, even where its logits are junk", () => {
      const results = [0, 1, 2].map((junk) => {
        const { dlogits, metrics } = ops.policyUpdate.clip({ ...withAbsentRow(junk), ...options });
        expect(dlogits.subarray(0, rows.V).every((d) => d === 0)).toBe(true);
        return [bits(dlogits), JSON.stringify(metrics)];
      });
      expect(results[1]).toEqual(results[0]);
      expect(results[2]).toEqual(results[0]);
      expect(results[0][1]).not.toContain("null");
    });
  });

  describe.each(lossForms)("an absent target of policyLoss.$op, $name", ({ run }) => {
    it.each(sharedVariants)("changes no bit, whatever it holds: %s", (_name, options) => {
      const results = [0, 1, 2].map((junk) => {
        const args = familyArguments(60, options);
        for (const n of [0, 1, 3, 30, 59]) vacate(args, n, junk);
        const { dlogprobs, metrics } = run(ops, args);
        for (const n of [0, 1, 3, 30, 59]) expect(dlogprobs[n]).toBe(0);
        return [bits(dlogprobs), JSON.stringify(metrics)];
      });
      expect(results[1]).toEqual(results[0]);
      expect(results[2]).toEqual(results[0]);
      expect(results[0][1]).not.toContain("null"); // JSON of NaN and infinities
    });
  });

  it("changes no bit of valueLoss where a target is absent, whatever it holds", () => {
    const results = [0, 1, 2].map((junk) => {
      const { dvalues, metrics } = ops.valueLoss({ ...valueArguments(60, junk), clip: 0.2 });
      for (let n = 2; n < 60; n += 5) expect(dvalues[n]).toBe(0);
      return [bits(dvalues), JSON.stringify(metrics)];
    });
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
    expect(results[0][1]).not.toContain("null");
  });

  it("gives exactly zero gradient for zero advantages", () => {
    for (const each of awkwardRows.filter(({ name }) => !/NaN|masked/.test(name))) {
      const args = { ...updateArguments(each), advantages: new Float32Array(2 * each.targets.length) };
      const { dlogits, dlogprobs } = ops.policyUpdate.clip(args);
      expect(dlogprobs.every((d) => d === 0)).toBe(true);
      expect(
        dlogits.every((d) => d === 0),
        each.name,
      ).toBe(true);
    }
  });

  it("writes gradients over the logits with the same bits", () => {
    for (const each of awkwardRows) {
      const given = {
        ...updateArguments(each),
        entropyWeights: new Float32Array(each.targetOffsets.length - 1).fill(0.1),
      };
      const apart = ops.policyUpdate.clip(given);
      const logits = each.logits.slice();
      ops.policyUpdate.clip({ ...given, logits, dlogits: logits });
      expect(bits(logits), each.name).toBe(bits(Float32Array.from(apart.dlogits)));

      const back = {
        ...each,
        lse: Float32Array.from(apart.lse),
        dlogprobs: Float32Array.from(each.targets, (_, n) => n + 1),
      };
      const separate = Float32Array.from(ops.logprobsBackward(back));
      const again = each.logits.slice();
      ops.logprobsBackward({ ...back, logits: again, dlogits: again });
      expect(bits(again), each.name).toBe(bits(separate));
    }
  });

  it("writes the gradients of swiglu over its inputs with the same bits", () => {
    const [gate, up, dout] = [1, 2, 3].map((seed) =>
      Float32Array.from({ length: 77 }, (_, i) => Math.sin(seed * i * i)),
    );
    const [dgate, dup, sameGate, sameUp] = [gate.slice(), up.slice(), gate.slice(), up.slice()];
    ops.swigluBackward({ gate, up, dout, dgate, dup });
    ops.swigluBackward({ gate: sameGate, up: sameUp, dout, dgate: sameGate, dup: sameUp });
    expect([bits(sameGate), bits(sameUp)]).toEqual([bits(dgate), bits(dup)]);
  });

  it.each(clipVariants)("gives in one pass what the three ops give one by one, %s", (_name, options) => {
    const args = {
      ...updateArguments(rows),
      ...options,
      temperature: 0.7,
      entropyWeights: Float32Array.of(0.1, 0, -0.2, 0),
    };
    const fused = ops.policyUpdate.clip({ ...args, entropy: true });
    const forward = ops.logprobs({ ...rows, temperature: 0.7, entropy: true });
    const { dlogprobs, metrics } = ops.policyLoss.clip({ ...args, logprobs: forward.logprobs });
    const dentropy = Float32Array.from(args.entropyWeights, (weight) => -weight);
    const dlogits = ops.logprobsBackward({ ...args, lse: forward.lse, entropy: forward.entropy!, dlogprobs, dentropy });
    const entropyTerm = 0.1 * forward.entropy![0] - 0.2 * forward.entropy![2];
    const once = plain.policyUpdate.clip({ ...args, entropy: true });
    expectClose(fused.logprobs, forward.logprobs, once.logprobs, { what: "logprobs" });
    expectClose(fused.dlogprobs, dlogprobs, once.dlogprobs, { what: "dlogprobs", scale: updateScale(args).dlogprobs });
    expectClose(fused.dlogits, dlogits, once.dlogits, { what: "dlogits", scale: updateScale(args).dlogits });
    const [got, expected, rounded] = [
      fused.metrics,
      { ...metrics, loss: metrics.loss - entropyTerm },
      once.metrics,
    ].map(metricOutcome);
    for (const [what, value] of Object.entries(got)) {
      expectClose(value, expected[what], rounded[what], { what, scale: updateScale(args)[what] ?? 0 });
    }
  });

  describe.each([...clipForms, ...lossForms])("policyUpdate.$op, $name", (form) => {
    it.each(sharedVariants)("gives in one call what the three ops give one by one: %s", (_name, options) => {
      const args = {
        ...updateArguments(rows),
        ...options,
        ...sequences(rows),
        temperature: 0.7,
        entropyWeights: Float32Array.of(0.1, 0, -0.2, 0),
      };
      const ratios = new Float32Array(rows.targets.length);
      const fused = form.update(ops, { ...args, entropy: true, ratios });
      const forward = ops.logprobs({ ...rows, temperature: 0.7, entropy: true });
      const { logprobs, lse, entropy } = forward;
      const apart = new Float32Array(ratios.length);
      const { dlogprobs, metrics } = form.run(ops, { ...args, logprobs, ratios: apart });
      expect(fused.logprobs).toEqual(logprobs);
      expect(fused.dlogprobs).toEqual(dlogprobs);
      expect(ratios).toEqual(apart);
      const dentropy = Float32Array.from(args.entropyWeights, (weight) => -weight);
      const dlogits = ops.logprobsBackward({ ...args, lse, entropy: entropy!, dlogprobs, dentropy });
      // Rows are summed around their maximum where they are fused, around 0 with the log-sum-exp of the ops apart.
      const once = form.update(plain, { ...args, entropy: true });
      expectClose(fused.dlogits, dlogits, once.dlogits, { what: "dlogits", scale: updateScale(args).dlogits });
      const entropyTerm = 0.1 * entropy![0] - 0.2 * entropy![2];
      expect(Math.abs(fused.metrics.loss - (metrics.loss - entropyTerm))).toBeLessThan(1e-6);
      expect(fused.metrics.clipFraction).toBe(metrics.clipFraction);
    });

    it("changes no bit for what an absent row holds", () => {
      const results = [0, 1, 2].map((junk) => {
        const { dlogits, metrics } = form.update(ops, { ...withAbsentRow(junk), ...sequences(rows) });
        expect(dlogits.subarray(0, rows.V).every((d) => d === 0)).toBe(true);
        return [bits(dlogits), JSON.stringify(metrics)];
      });
      expect(results[1]).toEqual(results[0]);
      expect(results[2]).toEqual(results[0]);
      expect(results[0][1]).not.toContain("null");
    });
  });

  it.each([1, 2, 17, 1000])("gives a decoding row the bits of its packed position, with a window of %d", (window) => {
    for (const parents of Object.values(forests)) {
      for (const layout of headLayouts) {
        const [heads, , D] = layout;
        const inputs = { ...treeInputs(parents, layout), window };
        const packed = { out: new Float32Array(inputs.q.length), lse: new Float32Array(parents.length * heads) };
        ops.treeAttention({ ...inputs, ...packed });
        const paths = parents.map((_, i) => ancestors(inputs.subtreeEnd, i));
        const slotOffsets = Int32Array.from([0, ...paths.map((_, i) => paths.slice(0, i + 1).flat().length)]);
        const out = new Float32Array(inputs.q.length);
        const cache = { keys: inputs.k, values: inputs.v, slotOffsets, slots: Int32Array.from(paths.flat()) };
        ops.decodeAttention({ ...inputs, ...cache, out });
        expect(bits(out), `D = ${D}`).toBe(bits(packed.out));
      }
    }
  });

  it.each([1, 3, 40])("changes no bit of a position for what lies outside its window of %d", (window) => {
    const parents = forests["a long chain with three leaves"];
    const [heads, kvHeads, D] = [4, 2, 20];
    const inputs = { ...treeInputs(parents, [heads, kvHeads, D]), window };
    const { q, subtreeEnd } = inputs;
    const last = parents.length - 1;
    const outside = ancestors(subtreeEnd, last).slice(0, -window);
    const results = [0, NaN, Infinity].map((junk) => {
      const filled = (array: Floats): Floats => {
        const copy = array.slice();
        for (const j of outside) copy.fill(junk, j * kvHeads * D, (j + 1) * kvHeads * D);
        return copy;
      };
      const given = { ...inputs, k: filled(inputs.k), v: filled(inputs.v) };
      const saved = { out: new Float32Array(q.length), lse: new Float32Array(parents.length * heads) };
      ops.treeAttention({ ...given, ...saved });
      const dout = new Float32Array(q.length).fill(1, last * heads * D);
      const gradients = { dq: new Float32Array(q.length), dk: given.k.slice(), dv: given.v.slice() };
      ops.treeAttentionBackward({ ...given, ...saved, dout, ...gradients });
      return [bits(saved.out.subarray(last * heads * D)), bits(gradients.dq.subarray(last * heads * D))];
    });
    expect(outside.length).toBeGreaterThan(0);
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
  });
});

/** The positions that i descends from, itself last. */
const ancestors = (subtreeEnd: Int32Array, i: number): number[] =>
  Array.from(subtreeEnd.keys()).filter((j) => j <= i && i < subtreeEnd[j]);
