import { describe, expect, it } from "vitest";
import { reference } from "../../src/ops/reference.ts";
import { randomArrays } from "../support/arrays.ts";
import { forests, subtreeEnds } from "../support/cases/attention.ts";
import { dot, expectGradient } from "../support/differences.ts";

const ops = reference();
const draw = randomArrays(11);
const normals = (count: number) => Float64Array.from(draw.normals(count));
const zeros = (count: number) => new Float64Array(count);

describe("embed", () => {
  it("copies rows of the table, or adds them", () => {
    const out = Float64Array.of(10, 20, 30, 40);
    const args = { table: Float64Array.of(1, 2, 3, 4), ids: Int32Array.of(1, 0), hidden: 2, out };
    ops.embed({ ...args, accumulate: true });
    expect([...out]).toEqual([13, 24, 31, 42]);
    ops.embed(args);
    expect([...out]).toEqual([3, 4, 1, 2]);
  });

  it("adds gradients of repeated ids to one row", () => {
    const dtable = Float64Array.of(1, 1, 1, 1);
    ops.embedBackward({ ids: Int32Array.of(1, 1), hidden: 2, dout: Float64Array.of(1, 2, 3, 4), dtable });
    expect([...dtable]).toEqual([1, 1, 5, 7]);
  });

  it("has the slope of its output as gradient", () => {
    const [table, dout, ids] = [normals(6), normals(8), Int32Array.of(2, 0, 2, 1)];
    const objective = () => {
      const out = zeros(8);
      ops.embed({ table, ids, hidden: 2, out });
      return dot(dout, out);
    };
    const dtable = zeros(6);
    ops.embedBackward({ ids, hidden: 2, dout, dtable });
    expectGradient(dtable, objective, table, "dtable");
  });
});

describe("linear", () => {
  it("multiplies by the transposed weight, adds the bias, and adds to y if asked", () => {
    const args = { x: Float64Array.of(1, 2), weight: Float64Array.of(1, 0, 3, 4, 5, 6), rows: 1 };
    const y = Float64Array.of(100, 100, 100);
    ops.linear({ ...args, y, bias: Float64Array.of(0.5, 0, 0), accumulate: true });
    expect([...y]).toEqual([101.5, 111, 117]);
    ops.linear({ ...args, y });
    expect([...y]).toEqual([1, 11, 17]);
  });

  it("has the slopes of its output as gradients, added where asked", () => {
    const [x, weight, bias, dy] = [normals(3 * 4), normals(2 * 4), normals(2), normals(3 * 2)];
    const objective = () => {
      const y = zeros(6);
      ops.linear({ x, weight, bias, y, rows: 3 });
      return dot(dy, y);
    };
    const [dx, dweight, dbias] = [zeros(12).fill(9), zeros(8), zeros(2)];
    ops.linearBackward({ x, weight, dy, rows: 3, dx, dweight, dbias });
    expectGradient(dx, objective, x, "dx");
    expectGradient(dweight, objective, weight, "dweight");
    expectGradient(dbias, objective, bias, "dbias");
    const more = Float64Array.from(dx);
    ops.linearBackward({ x, weight, dy, rows: 3, dx: more, dweight, accumulate: true });
    more.forEach((d, i) => expect(d).toBeCloseTo(2 * dx[i], 13));
  });
});

describe("rmsNorm", () => {
  it("divides by the root of the mean square", () => {
    // mean square (9 + 16 + 0 + 0 ) / 4 + 0 = 6.25, root 2.5
    const [y, rrms] = [zeros(4), zeros(1)];
    ops.rmsNorm({ x: Float64Array.of(3, 4, 0, 0), weight: Float64Array.of(1, 2, 1, 1), eps: 0, y, rrms });
    expect([...y, ...rrms]).toEqual([1.2000000000000002, 3.2, 0, 0, 0.4]);
  });

  it("has the slopes of its output as gradients", () => {
    const [x, weight, dy] = [normals(10), normals(5), normals(10)];
    const [y, rrms] = [zeros(10), zeros(2)];
    const objective = () => {
      ops.rmsNorm({ x, weight, eps: 0.1, y, rrms });
      return dot(dy, y);
    };
    objective();
    const [dx, dweight] = [zeros(10), zeros(5)];
    ops.rmsNormBackward({ x, weight, rrms, dy, dx, dweight });
    expectGradient(dx, objective, x, "dx");
    expectGradient(dweight, objective, weight, "dweight");
  });
});

describe("rope", () => {
  const table = { cosines: Float64Array.of(1, 1, 0, 0.6), sines: Float64Array.of(0, 0, 1, 0.8), headSize: 4, heads: 1 };

  it("rotates the pairs (i, i + D/2) by the angles of the row's depth", () => {
    // depth 1: a quarter turn of (1, 3) is (−3, 1); (2, 4) by (0.6, 0.8) is (1.2 − 3.2, 2.4 + 1.6)
    const x = Float64Array.of(1, 2, 3, 4, 1, 2, 3, 4);
    ops.rope({ ...table, x, depth: Int32Array.of(1, 0) });
    [-3, -2, 1, 4, 1, 2, 3, 4].forEach((expected, i) => expect(x[i]).toBeCloseTo(expected, 14));
  });

  it("is undone by its backward, which is its gradient", () => {
    const [x, dx] = [normals(8), normals(8)];
    const depth = Int32Array.of(1, 1);
    const objective = () => {
      const turned = Float64Array.from(x);
      ops.rope({ ...table, x: turned, depth });
      return dot(dx, turned);
    };
    const gradient = Float64Array.from(dx);
    ops.ropeBackward({ ...table, x: gradient, depth });
    expectGradient(gradient, objective, x, "x");
    ops.rope({ ...table, x: gradient, depth });
    gradient.forEach((value, i) => expect(value).toBeCloseTo(dx[i], 13));
  });
});

describe("treeAttention", () => {
  const shape = { heads: 4, kvHeads: 2, headSize: 4, scale: 0.5 };

  it("averages the values of ancestors with equal scores, and sees no sibling", () => {
    // 0 ── 1, 0 ── 2: position 2 sees 0 and itself
    const out = { out: zeros(3), lse: zeros(3) };
    ops.treeAttention({
      ...{ heads: 1, kvHeads: 1, headSize: 1, scale: 1 },
      q: zeros(3),
      k: normals(3),
      v: Float64Array.of(2, 100, 4),
      subtreeEnd: Int32Array.of(3, 2, 3),
      ...out,
    });
    expect([...out.out]).toEqual([2, 51, 3]);
    [0, Math.LN2, Math.LN2].forEach((lse, i) => expect(out.lse[i]).toBeCloseTo(lse, 14));
  });

  it("sees no further back than its window", () => {
    // A chain of 4 with equal scores: the mean of the last two values.
    const v = Float64Array.of(NaN, 6, 2, 8);
    const out = { out: zeros(4), lse: zeros(4) };
    const one = { heads: 1, kvHeads: 1, headSize: 1, scale: 1, window: 2 };
    ops.treeAttention({ ...one, q: zeros(4), k: normals(4), v, subtreeEnd: Int32Array.of(4, 4, 4, 4), ...out });
    expect([...out.out]).toEqual([NaN, NaN, 4, 5]);
  });

  it("reads the key and value head of its group", () => {
    const out = { out: zeros(4), lse: zeros(4) };
    const one = { heads: 4, kvHeads: 2, headSize: 1, scale: 1, q: zeros(4), k: zeros(2), v: Float64Array.of(5, 6) };
    ops.treeAttention({ ...one, subtreeEnd: Int32Array.of(1), ...out });
    expect([...out.out]).toEqual([5, 5, 6, 6]);
  });

  it.each([1, 3, 100])("has the slopes of its output as gradients, over branches, with a window of %d", (window) => {
    const subtreeEnd = subtreeEnds([...forests["a branch"], -1, 7]);
    const T = subtreeEnd.length;
    const [q, k, v, dout] = [normals(T * 16), normals(T * 8), normals(T * 8), normals(T * 16)];
    const saved = { out: zeros(T * 16), lse: zeros(T * 4) };
    const objective = () => {
      ops.treeAttention({ ...shape, window, q, k, v, subtreeEnd, ...saved });
      return dot(dout, saved.out);
    };
    objective();
    const gradients = { dq: zeros(T * 16).fill(9), dk: zeros(T * 8).fill(9), dv: zeros(T * 8).fill(9) };
    ops.treeAttentionBackward({ ...shape, window, q, k, v, subtreeEnd, ...saved, dout, ...gradients });
    expectGradient(gradients.dq, objective, q, "dq");
    expectGradient(gradients.dk, objective, k, "dk");
    expectGradient(gradients.dv, objective, v, "dv");
  });

  it.each([2, 100])("is what decodeAttention gives for the path of the row, with a window of %d", (window) => {
    const subtreeEnd = subtreeEnds(forests["a branch"]); // position 6 sees 0, 1, 4, 5 and itself
    const T = subtreeEnd.length;
    const [q, k, v] = [normals(T * 16), normals(T * 8), normals(T * 8)];
    const saved = { out: zeros(T * 16), lse: zeros(T * 4) };
    ops.treeAttention({ ...shape, window, q, k, v, subtreeEnd, ...saved });
    const out = zeros(16);
    const path = { slotOffsets: Int32Array.of(0, 5), slots: Int32Array.of(0, 1, 4, 5, 6) };
    ops.decodeAttention({ ...shape, window, q: q.subarray(6 * 16), keys: k, values: v, ...path, out });
    expect(out).toEqual(saved.out.slice(6 * 16));
  });
});

describe("swiglu", () => {
  it("multiplies by gate · sigmoid(gate)", () => {
    const out = zeros(3);
    ops.swiglu({ gate: Float64Array.of(0, Math.log(3), -1e4), up: Float64Array.of(5, 2, 1), out });
    [0, 1.5 * Math.log(3), 0].forEach((expected, i) => expect(out[i]).toBeCloseTo(expected, 14));
  });

  it("has the slopes of its output as gradients, in place too", () => {
    const [gate, up, dout] = [normals(9), normals(9), normals(9)];
    const objective = () => {
      const out = zeros(9);
      ops.swiglu({ gate, up, out });
      return dot(dout, out);
    };
    const [dgate, dup] = [Float64Array.from(gate), Float64Array.from(up)];
    ops.swigluBackward({ gate: dgate, up: dup, dout, dgate, dup });
    expectGradient(dgate, objective, gate, "dgate");
    expectGradient(dup, objective, up, "dup");
  });
});
