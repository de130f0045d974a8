import { describe, expect, it } from "vitest";
import { cpuIsas, openOps } from "../../src/ops/native.ts";
import { reference } from "../../src/ops/reference.ts";
import { randomArrays } from "../support/arrays.ts";
import { free, headRows } from "../support/cases/linear-logprobs.ts";
import { bits } from "../support/close.ts";

describe.each(cpuIsas())("linearLogprobs on %s", (isa) => {
  const ops = openOps("cpu", { isa, blas: false });

  it.each([
    headRows("several slabs", [5, 9000], { bias: free, temperature: 0.7 }),
    headRows("several blocks of rows", [7, 33], { counts: Array.from({ length: 600 }, (_, t) => t % 3) }),
    headRows("a deep product", [600, 70], { bias: free }),
    headRows("scale and softcap", [5, 5000], { logitScale: 1.3, softcap: 4, temperature: 0.7 }),
  ])("has the bits of linear followed by logprobs: $name", (head) => {
    const T = head.targetOffsets.length - 1;
    const logits = new Float32Array(T * head.V);
    ops.linear({ x: head.hidden, weight: head.weight, rows: T, y: logits, ...(head.bias && { bias: head.bias }) });
    const { hidden: _hidden, weight: _weight, bias: _bias, ...rows } = head;
    const apart = ops.logprobs({ ...rows, logits, entropy: true });
    const fused = ops.linearLogprobs({ ...head, entropy: true });
    for (const output of ["lse", "logprobs", "entropy"] as const) {
      expect(bits(fused[output] as Float32Array), output).toBe(bits(apart[output] as Float32Array));
    }
  });

  it("keeps the relative accuracy of a confident target and of its gradient", () => {
    const head = headRows("confident", [3, 5000], {
      counts: [1],
      spread: 0.5,
      bias: (bias) => bias.fill(0).fill(30, 4500, 4501),
      edit: (targets) => targets.fill(4500),
    });
    const truth = reference().linearLogprobs(head);
    const saved = ops.linearLogprobs(head);
    expect(saved.logprobs[0] / truth.logprobs[0]).toBeCloseTo(1, 5);
    const dbias = new Float32Array(head.V);
    ops.linearLogprobsBackward({ ...head, ...saved, dlogprobs: Float32Array.of(1), dbias });
    expect(dbias[4500] / -Math.expm1(truth.logprobs[0])).toBeCloseTo(1, 5);
  });

  it("gives masked vocabulary no gradient, even under a masked target", () => {
    const head = headRows("masked", [3, 40], {
      counts: [2, 1],
      bias: (bias) => bias.fill(-Infinity, 0, 10),
      edit: (targets) => targets.set([4, 20]),
    });
    const saved = ops.linearLogprobs({ ...head, entropy: true });
    expect(saved.logprobs[0]).toBe(-Infinity);
    const [dweight, dbias] = [new Float32Array(head.weight.length), new Float32Array(head.V)];
    const upstream = { dlogprobs: Float32Array.of(1, 2, 3), dentropy: Float32Array.of(1, 1) };
    ops.linearLogprobsBackward({ ...head, ...saved, entropy: saved.entropy!, ...upstream, dweight, dbias });
    expect(dbias.subarray(0, 10).every((d) => d === 0)).toBe(true);
    expect(dweight.subarray(0, 30).every((d) => d === 0)).toBe(true);
    expect(dbias.subarray(10).some((d) => d !== 0)).toBe(true);
  });

  it("reads nothing of a row whose gradients are 0", () => {
    const head = headRows("quiet", [4, 50], { counts: [1, 1, 2, 1] });
    const saved = ops.linearLogprobs(head);
    const dlogprobs = randomArrays(1).normals(5);
    dlogprobs.fill(0, 1, 2);
    const gradients = (hidden: Float32Array) => {
      const out = {
        dhidden: new Float32Array(hidden.length).fill(NaN),
        dweight: new Float32Array(head.weight.length),
        dbias: new Float32Array(head.V),
      };
      ops.linearLogprobsBackward({ ...head, ...saved, hidden, dlogprobs, ...out });
      expect(out.dhidden.subarray(4, 8).every((d) => d === 0)).toBe(true);
      return [bits(out.dhidden), bits(out.dweight), bits(out.dbias)];
    };
    const junk = head.hidden.slice().fill(NaN, 4, 8);
    expect(gradients(junk)).toEqual(gradients(head.hidden));
  });

  it("takes no rows, with any vocabulary", () => {
    const empty = { hidden: new Float32Array(0), targetOffsets: Int32Array.of(0), targets: new Int32Array(0) };
    const head = { ...empty, weight: new Float32Array(12), bias: new Float32Array(4) };
    const { lse, logprobs } = ops.linearLogprobs(head);
    const dweight = new Float32Array(12).fill(3);
    const dbias = new Float32Array(4).fill(3);
    ops.linearLogprobsBackward({ ...head, lse, logprobs, dlogprobs: new Float32Array(0), dweight, dbias });
    expect(Array.from(dweight)).toEqual(Array(12).fill(3));
    expect(Array.from(dbias)).toEqual(Array(4).fill(3));
  });
});
