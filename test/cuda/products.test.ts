import { describe, expect, it } from "vitest";
import { openOps } from "../../src/ops/native.ts";
import type { NativeOps } from "../../src/ops/native.ts";
import type { Typed } from "../../src/ops/ops.ts";
import { reference } from "../../src/ops/reference.ts";
import { expectAgreement } from "../support/agreement.ts";
import { randomArrays, typed, widened } from "../support/arrays.ts";
import { headRows } from "../support/cases/linear-logprobs.ts";
import { halfLinearCases } from "../support/cases/model.ts";
import { bits } from "../support/close.ts";
import { runsOnHost } from "../support/cuda.ts";
import { onHostDevice } from "../support/host-device.ts";

const noEdit = () => undefined;

describe.skipIf(!runsOnHost)("device code on the host: products", () => {
  let ops: NativeOps;
  onHostDevice(() => (ops = openOps("cuda")));

  /** Alone a row has a kernel of its own, together rows have small or large tiles; more terms than a block of them. */
  it.each([
    [17, 300, 70],
    [40, 520, 68],
    [140, 260, 520],
    [17, 2500, 20],
  ])("linear gives a row the bits that it has alone: [%i, %i] × %i", (rows, I, O) => {
    const draw = randomArrays(rows);
    const [x, weight, bias] = [draw.normals(rows * I), draw.normals(O * I), draw.normals(O)];
    const together = new Float32Array(rows * O);
    ops.linear({ x, weight, bias, rows, y: together });
    for (const t of [0, 16, rows - 1]) {
      const alone = new Float32Array(O);
      ops.linear({ x: x.slice(t * I, (t + 1) * I), weight, bias, rows: 1, y: alone });
      expect(bits(together.slice(t * O, (t + 1) * O)), `row ${t}`).toBe(bits(alone));
    }
  });

  it.each([
    ["bf16", 17, 304, 72],
    ["f16", 140, 264, 520],
    ["bf16", 3, 2500, 20],
  ] as const)(
    "a portable product counts a weight in %s as its numbers in f32, to the bit: [%i, %i] × %i",
    (dtype, rows, I, O) => {
      const portable = openOps("cuda", { blas: false });
      const draw = randomArrays(rows);
      const [x, dy, bias] = [draw.normals(rows * I), draw.normals(rows * O), draw.normals(O)];
      const weight = typed(dtype, draw.normals(O * I));
      const products = (values: Float32Array | Typed) => {
        const [y, dx] = [new Float32Array(rows * O), new Float32Array(rows * I).fill(NaN)];
        portable.linear({ x, weight: values, bias, rows, y, accumulate: true });
        portable.linearBackward({ x, weight: values, dy, rows, dx });
        return bits(y) + bits(dx);
      };
      expect(products(weight)).toBe(products(widened(weight)));
    },
  );

  /** On tensor cores: few rows with a kernel of their own, several tiles, terms and columns beyond a tile, a slice, a round. */
  const ofHalves = [
    [17, 304, 72],
    [140, 264, 132],
    [16, 1096, 36],
    [3, 40, 44],
  ] as const;
  const halves = (["bf16", "f16"] as const).flatMap((dtype) => ofHalves.map((shape) => [dtype, ...shape] as const));

  for (const opCase of (["bf16", "f16"] as const).flatMap((dtype) => halfLinearCases(dtype, ofHalves)))
    it(`tensor cores agree with the reference: ${opCase.op}: ${opCase.name}`, () => expectAgreement(ops, opCase));

  it.each(halves)("a row has the bits that it has alone with a weight in %s: [%i, %i] × %i", (dtype, rows, I, O) => {
    const draw = randomArrays(rows);
    const [x, dy, bias] = [draw.normals(rows * I), draw.normals(rows * O), draw.normals(O)];
    const weight = typed(dtype, draw.normals(O * I));
    const products = (first: number, last: number) => {
      const [y, dx] = [new Float32Array((last - first) * O).fill(NaN), new Float32Array((last - first) * I).fill(NaN)];
      const given = { x: x.slice(first * I, last * I), weight, rows: last - first };
      ops.linear({ ...given, bias, y });
      ops.linearBackward({ ...given, dy: dy.slice(first * O, last * O), dx });
      return { y, dx };
    };
    const together = products(0, rows);
    for (const t of [0, rows >> 1, rows - 1]) {
      const alone = products(t, t + 1);
      expect(bits(together.y.slice(t * O, (t + 1) * O)), `row ${t}`).toBe(bits(alone.y));
      expect(bits(together.dx.slice(t * I, (t + 1) * I)), `row ${t}`).toBe(bits(alone.dx));
    }
    // It is not the portable kernel that gave them.
    const apart = { y: new Float32Array(rows * O), dx: new Float32Array(rows * I) };
    const portable = openOps("cuda", { blas: false });
    portable.linear({ x, weight, rows, bias, y: apart.y });
    portable.linearBackward({ x, weight, rows, dy, dx: apart.dx });
    expect(bits(apart.y)).not.toBe(bits(together.y));
    expect(bits(apart.dx)).not.toBe(bits(together.dx));
  });

  it.each([
    headRows("three slabs", [5, 9000], { bias: noEdit, temperature: 0.7 }),
    headRows("more rows than a block", [2, 5], {
      counts: Array.from({ length: 2600 }, (_, t) => (t % 7 === 6 ? 0 : 1)),
    }),
    headRows("a deep product", [600, 70], { bias: noEdit }),
    headRows("scale and softcap", [5, 5000], { logitScale: 1.3, softcap: 4, temperature: 0.7 }),
  ])("linearLogprobs has the bits of linear followed by logprobs: $name", (head) => {
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

  it("linearLogprobsBackward reads nothing of a row whose gradients are 0", () => {
    const head = headRows("quiet", [4, 50], { counts: [1, 1, 2, 1] });
    const saved = ops.linearLogprobs(head);
    const dlogprobs = Float32Array.of(1, 0, -2, 3, 0.5);
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
    expect(gradients(head.hidden.slice().fill(NaN, 4, 8))).toEqual(gradients(head.hidden));
  });

  it("embedBackward adds rows of equal ids in order, beyond a sorted tile", () => {
    const [T, V, hidden] = [2500, 40, 3];
    const draw = randomArrays(T);
    const [ids, dout, table] = [draw.integers(T, V), draw.normals(T * hidden), draw.normals(V * hidden)];
    const dtable = table.slice();
    ops.embedBackward({ ids, hidden, dout, dtable });
    const inOrder = table.slice();
    reference(Math.fround).embedBackward({ ids, hidden, dout, dtable: inOrder });
    expect(bits(dtable)).toBe(bits(inOrder));
  });
});
