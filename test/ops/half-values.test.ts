import { describe, expect, it } from "vitest";
import { bitsOf, floatsOf } from "../../src/ops/halves.ts";
import { cpuIsas, openOps } from "../../src/ops/native.ts";
import type { Typed } from "../../src/ops/ops.ts";
import { randomArrays, typed, widened } from "../support/arrays.ts";
import { bits } from "../support/close.ts";

const every = Uint16Array.from({ length: 2 ** 16 }, (_, bits) => bits);
const oneEach = (T: number) => Int32Array.from({ length: T + 1 }, (_, t) => t);

describe.each(cpuIsas())("half floats on %s", (isa) => {
  const ops = openOps("cpu", { isa, blas: false });

  describe.each(["bf16", "f16"] as const)("%s", (dtype) => {
    it.each([
      ["in whole vectors", 32, 5],
      ["at the end of a row", 33, 32],
      ["alone", 1, 0],
    ])("every number is widened exactly, %s", (_, V, at) => {
      // The log-sum-exp of a row with one finite number is that number.
      const data = new Uint16Array(every.length * V).fill(bitsOf(dtype, Float32Array.of(-Infinity))[0]);
      every.forEach((bits, t) => (data[t * V + at] = bits));
      const rows = { targetOffsets: oneEach(every.length), targets: new Int32Array(every.length).fill(at) };
      const { lse } = ops.logprobs({ ...rows, logits: { dtype, data } });
      expect(lse).toEqual(floatsOf({ dtype, data: every }).map((x) => x + 0)); // no negative zero
    });

    it("of a weight count as their numbers in f32, to the bit", () => {
      const [rows, I, O] = [3, 2100, 600]; // three slabs of 256 rows
      const draw = randomArrays(7);
      const [x, dy, bias] = [draw.normals(rows * I), draw.normals(rows * O), draw.normals(O)];
      const weight = typed(dtype, draw.normals(O * I));
      const products = (values: Float32Array | Typed) => {
        const [y, dx] = [new Float32Array(rows * O), new Float32Array(rows * I).fill(NaN)];
        ops.linear({ x, weight: values, bias, rows, y, accumulate: true });
        ops.linearBackward({ x, weight: values, dy, rows, dx });
        return bits(y) + bits(dx);
      };
      expect(products(weight)).toBe(products(widened(weight)));
    });

    it.each([
      ["in whole vectors", 32, 5],
      ["at the end of a row", 33, 32],
    ])("gradients are rounded to nearest even, %s", (_, V, at) => {
      // Of a target with p = 0 the gradient is the upstream one.
      const ties = every.map((bits) => bits & 0x7fff).filter((bits) => bits % 7 === 0);
      const [numbers, above] = [ties, ties.map((bits) => bits + 1)].map((data) => floatsOf({ dtype, data }));
      const gradients = Float32Array.from([
        ...numbers.map((x, i) => (x + above[i]) / 2),
        ...randomArrays(1).normals(2000, 1e-6),
        ...randomArrays(2).normals(2000, 1e4),
        65519.99,
        65520,
        3.4e38,
        2 ** -25,
        1.5 * 2 ** -24,
      ]).filter(Number.isFinite);
      const T = gradients.length;
      const data = new Uint16Array(T * V).fill(bitsOf(dtype, Float32Array.of(-1000))[0]);
      for (let t = 0; t < T; t++) data[t * V + at - 1] = 0; // p = 1
      const rows = { logits: { dtype, data } as Typed, targetOffsets: oneEach(T), targets: new Int32Array(T).fill(at) };
      const dlogits = ops.logprobsBackward({ ...rows, lse: new Float32Array(T), dlogprobs: gradients });
      const got = Uint16Array.from({ length: T }, (_, t) => dlogits.data[t * V + at]);
      expect(got).toEqual(bitsOf(dtype, gradients));
      const others = Uint16Array.from({ length: T }, (_, t) => dlogits.data[t * V + at - 1]);
      expect(others).toEqual(
        bitsOf(
          dtype,
          gradients.map((g) => -g),
        ),
      );
    });
  });
});
