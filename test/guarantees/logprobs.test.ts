/** What users of such libraries were bitten by, guarantees 1 to 14: log-probabilities, entropy, the fused head. */
import { freemem } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { numThreads, openOps, setNumThreads } from "../../src/ops/native.ts";
import type { LogprobsInputs, PolicyUpdateArguments } from "../../src/ops/ops.ts";
import { reference } from "../../src/ops/reference.ts";
import { randomArrays } from "../support/arrays.ts";
import { free, headRows } from "../support/cases/linear-logprobs.ts";
import { offsetsOf } from "../support/cases/op-case.ts";
import { keepMask } from "../support/cases/rows.ts";
import { runChild } from "../support/child.ts";
import { bits } from "../support/close.ts";
import { repository } from "../support/imports.ts";
import { install, node, type Installed } from "../support/installed.ts";

const ops = openOps("cpu", { blas: false });
const truth = reference();

let installed: Installed;
beforeAll(() => {
  installed = install();
  installed.linkAddon();
});
const threads = numThreads();
afterAll(() => {
  installed.remove();
  setNumThreads(threads);
});

/** One target per row. */
function rowsOf(T: number, V: number, spread = 3) {
  const draw = randomArrays(T * 1009 + V);
  return {
    logits: draw.normals(T * V, spread),
    targetOffsets: Int32Array.from({ length: T + 1 }, (_, t) => t),
    targets: draw.integers(T, V),
  };
}

/** The largest |got − want|. */
const farthest = (got: ArrayLike<number>, want: ArrayLike<number>) =>
  Array.from(got).reduce((most, x, i) => Math.max(most, Math.abs(x - want[i])), 0);

describe("1. the logits of a head are never held", () => {
  it(
    "keeps forward and backward of T = 4096, V = 151936 under 64 MiB beside inputs and outputs",
    { timeout: 600_000 },
    () => {
      const program = [join(repository, "bench", "head-memory.ts"), "4096", "151936", "16", "bf16"];
      const { status, stdout, stderr } = node(["--import", join(repository, "bench", "register.mjs"), ...program]);
      expect(status, stderr).toBe(0);
      const { growthMiB, finite } = JSON.parse(stdout) as { growthMiB: number; finite: boolean };
      expect(finite).toBe(true);
      expect(growthMiB).toBeLessThan(64);
    },
  );
});

describe("2. masked vocabulary has no entropy and no gradient", () => {
  it("is finite, and exactly 0 at −∞ logits", () => {
    const rows = rowsOf(6, 100);
    rows.logits.forEach((_, i) => {
      if (i % 100 !== rows.targets[Math.floor(i / 100)] && i % 3 > 0) rows.logits[i] = -Infinity;
    });
    const { lse, entropy, logprobs } = ops.logprobs({ ...rows, entropy: true });
    expect([...entropy!, ...logprobs].every(Number.isFinite)).toBe(true);
    const upstream = { dlogprobs: randomArrays(1).normals(6), dentropy: randomArrays(2).normals(6) };
    const dlogits = ops.logprobsBackward({ ...rows, lse, entropy: entropy!, ...upstream });
    expect(dlogits.every(Number.isFinite)).toBe(true);
    expect(dlogits.every((d, i) => rows.logits[i] !== -Infinity || d === 0)).toBe(true);
    expect(dlogits.some((d) => d !== 0)).toBe(true);
  });
});

describe("3. a sum that begins with −∞", () => {
  it.each([2048, 4096, 8192])(
    "gives what the rest of the row gives where the first %i entries are masked",
    (masked) => {
      const rows = rowsOf(1, 10_000);
      rows.targets[0] = 9_000;
      rows.logits.fill(-Infinity, 0, masked);
      const rest = { ...rows, logits: rows.logits.slice(masked), targets: Int32Array.of(9_000 - masked) };
      expect(ops.logprobs(rows).logprobs[0]).toBeCloseTo(truth.logprobs(rest).logprobs[0], 5);
    },
  );

  it("holds for the fused head, whose bias masks a whole slab", () => {
    const bias = (b: Float32Array) => b.fill(-Infinity, 0, 4096);
    const head = headRows("", [4, 5000], { counts: [1], bias, edit: (targets) => targets.fill(4500) });
    expect(ops.linearLogprobs(head).logprobs[0]).toBeCloseTo(truth.linearLogprobs(head).logprobs[0], 5);
  });
});

describe("4. fused and unfused agree", () => {
  it.each([
    [7, 1],
    [9, 33],
    [16, 4095],
    [5, 4097],
    [64, 2049],
    [3, 9001],
  ])("on H = %i, V = %i, with log-probabilities of at most 0", (H, V) => {
    const head = headRows("", [H, V], { counts: [1, 3, 0, 2], bias: free });
    const logits = new Float32Array(4 * V);
    ops.linear({ x: head.hidden, weight: head.weight, bias: head.bias!, rows: 4, y: logits });
    const fused = ops.linearLogprobs({ ...head, entropy: true });
    const dense = ops.logprobs({ logits, targetOffsets: head.targetOffsets, targets: head.targets, entropy: true });
    expect(bits(fused.logprobs as Float32Array)).toBe(bits(dense.logprobs as Float32Array));
    expect(fused.logprobs.every((logprob) => logprob <= 0)).toBe(true);
  });
});

describe("5. an upstream gradient that is a view", () => {
  it.each([1, 3, 17])("at element %i of its buffer gives the bits of a whole array", (offset) => {
    const head = headRows("", [6, 70], { counts: [1, 2, 1] });
    const saved = ops.linearLogprobs(head);
    const dlogprobs = randomArrays(3).normals(4);
    const gradients = (upstream: Float32Array) => {
      const out = { dhidden: new Float32Array(18), dweight: new Float32Array(6 * 70) };
      ops.linearLogprobsBackward({ ...head, ...saved, dlogprobs: upstream, ...out });
      return [bits(out.dhidden), bits(out.dweight)];
    };
    const wide = new Float32Array(40).fill(NaN);
    wide.set(dlogprobs, offset);
    expect(gradients(wide.subarray(offset, offset + 4))).toEqual(gradients(dlogprobs));
  });

  it("is refused where it is no contiguous Float32Array of N elements", () => {
    const rows = rowsOf(3, 8);
    const { lse } = ops.logprobs(rows);
    const strided = { length: 3, stride: 2 } as never;
    expect(() => ops.logprobsBackward({ ...rows, lse, dlogprobs: strided })).toThrow(TypeError);
    expect(() => ops.logprobsBackward({ ...rows, lse, dlogprobs: new Float32Array(6) })).toThrow(RangeError);
  });
});

/** Central differences of Σ g · logprobs + Σ h · entropy in the reference, at some hidden states. */
function differences(head: ReturnType<typeof headRows>, g: Float32Array, h: Float32Array): Float64Array {
  const value = (hidden: Float64Array) => {
    const { logprobs, entropy } = truth.linearLogprobs({ ...head, hidden, entropy: true });
    return g.reduce((sum, x, n) => sum + x * logprobs[n], 0) + h.reduce((sum, x, t) => sum + x * entropy![t], 0);
  };
  return Float64Array.from(head.hidden, (_, i) => {
    const [up, down] = [Float64Array.from(head.hidden), Float64Array.from(head.hidden)];
    up[i] += 1e-5;
    down[i] -= 1e-5;
    return (value(up) - value(down)) / 2e-5;
  });
}

function dhiddenOf(head: ReturnType<typeof headRows>, dlogprobs: Float32Array, dentropy: Float32Array): Float32Array {
  const saved = ops.linearLogprobs({ ...head, entropy: true });
  const dhidden = new Float32Array(head.hidden.length);
  ops.linearLogprobsBackward({ ...head, ...saved, entropy: saved.entropy!, dlogprobs, dentropy, dhidden });
  return dhidden;
}

describe("6. every token has an upstream gradient of its own", () => {
  const head = headRows("", [5, 40], { counts: [1, 2, 1] });
  it.each([
    ["any", Float32Array.of(0.5, -2, 3, 0.25)],
    ["zeros among others", Float32Array.of(0, -2, 0, 0.25)],
    ["a single one", Float32Array.of(0, 0, 1, 0)],
  ])("%s: the differences of the loss", (_, g) => {
    const none = new Float32Array(3);
    expect(farthest(dhiddenOf(head, g, none), differences(head, g, none))).toBeLessThan(1e-5);
  });
});

describe("7. the entropy has a gradient", () => {
  it("is that of its differences, for logits and for a head", () => {
    const head = headRows("", [5, 40], { counts: [1, 2, 1], temperature: 0.7 });
    const [g, h] = [new Float32Array(4), Float32Array.of(1, -0.5, 2)];
    const dhidden = dhiddenOf(head, g, h);
    expect(dhidden.some((d) => Math.abs(d) > 0.01)).toBe(true);
    expect(farthest(dhidden, differences(head, g, h))).toBeLessThan(1e-5);
  });

  it("is refused without the entropies it needs", () => {
    const rows = rowsOf(2, 8);
    const { lse } = ops.logprobs(rows);
    const upstream = { dlogprobs: new Float32Array(2), dentropy: new Float32Array(2) };
    expect(() => ops.logprobsBackward({ ...rows, lse, ...upstream })).toThrow(/expected entropy \[T\] with dentropy/);
  });
});

describe("8. an ignored target", () => {
  const rows = { ...rowsOf(4, 30), ignoreIndex: -100 };
  rows.targets[2] = -100;

  it("has log-probability 0 and no gradient", () => {
    const { lse, logprobs } = ops.logprobs(rows);
    expect(logprobs[2]).toBe(0);
    expect([0, 1, 3].every((n) => logprobs[n] < 0)).toBe(true);
    const dlogits = ops.logprobsBackward({ ...rows, lse, dlogprobs: new Float32Array(4).fill(1) });
    expect(dlogits.subarray(60, 90).every((d) => d === 0)).toBe(true);
    expect(dlogits.subarray(0, 30).some((d) => d !== 0)).toBe(true);
  });

  it.each([-1, 30, -101])("any other id out of range throws: %i", (id) => {
    const targets = rows.targets.slice().fill(id, 0, 1);
    expect(() => ops.logprobs({ ...rows, targets })).toThrow(RangeError);
    const head = headRows("", [4, 30], { counts: [1, 1, 1, 1], ignoreIndex: -100 });
    expect(() => ops.linearLogprobs({ ...head, targets })).toThrow(/targets \[N\] in 0 … 29 or -100/);
  });
});

describe("9. a confident target", () => {
  it.each([12, 16, 20, 40])("keeps the relative accuracy of log p and of 1 − p with a lead of %i", (lead) => {
    const rows = rowsOf(1, 200, 0.5);
    rows.logits[rows.targets[0]] = lead;
    const exact = truth.logprobs(rows);
    const { lse, logprobs } = ops.logprobs(rows);
    expect(logprobs[0] / exact.logprobs[0]).toBeCloseTo(1, 5);
    const loss = {
      oldLogprobs: logprobs,
      advantages: Float32Array.of(1, 0),
      weights: Float32Array.of(1),
      epsLow: 0.2,
      epsHigh: 0.2,
    };
    const at = rows.targets[0];
    const complement = -Math.expm1(exact.logprobs[0]);
    expect(ops.policyUpdate.clip({ ...rows, ...loss }).dlogits[at] / -complement).toBeCloseTo(1, 5);
    // The separate backward is given lse as one f32: its 1 − p is exp(−lse) of the others, off by the spacing of lse.
    const dlogits = ops.logprobsBackward({ ...rows, lse, dlogprobs: Float32Array.of(1) });
    expect(Math.abs(dlogits[at] / complement - 1)).toBeLessThan(2 * lead * 2 ** -23 + 1e-6);
  });
});

describe("10. no part of the work shows in the result", () => {
  it("gives the gradients of the whole to 1e-6, however the rows are shared out over calls", () => {
    const T = 600;
    const head = headRows("", [4, 4200], { counts: new Array<number>(T).fill(1), spread: 1 });
    const saved = ops.linearLogprobs(head);
    const dlogprobs = randomArrays(5).normals(T, 1 / T);
    const dweight = (pieces: readonly number[]) => {
      const sum = new Float32Array(head.weight.length);
      pieces.slice(1).forEach((end, i) => {
        const begin = pieces[i];
        const part = <A extends Float32Array | Int32Array>(all: A, width = 1) =>
          all.slice(begin * width, end * width) as A;
        ops.linearLogprobsBackward({
          ...head,
          hidden: part(head.hidden, 4),
          targetOffsets: offsetsOf(new Array<number>(end - begin).fill(1)),
          targets: part(head.targets),
          lse: part(saved.lse as Float32Array),
          logprobs: part(saved.logprobs as Float32Array),
          dlogprobs: part(dlogprobs),
          dweight: sum,
        });
      });
      return sum;
    };
    const whole = dweight([0, T]);
    expect(whole.some((d) => Math.abs(d) > 1e-4)).toBe(true);
    for (const pieces of [
      [0, 1, T],
      [0, 255, 257, T],
      [0, 100, 200, 300, 400, 500, T],
    ]) {
      expect(farthest(dweight(pieces), whole)).toBeLessThan(1e-6);
    }
  });
});

describe("11. offsets beyond 2³¹ elements", () => {
  const needed = 7 * 2 ** 30;
  const enough = freemem() > needed;

  it.skipIf(!enough)(
    "reach the last rows of bf16 logits, forward and in place backward (skipped with less than 7 GiB free)",
    { timeout: 600_000 },
    () => {
      const { status, stdout, stderr } = runChild(
        installed,
        `
      const V = 262147, T = 8200; // T · V = 2,149,605,400 > 2³¹; rows without targets are never read
      const logits = { dtype: "bf16", data: new Uint16Array(T * V) };
      const row = Uint16Array.from({ length: V }, (_, v) => 0x3f80 + (v * 7919) % 0x100); // 1 … 4
      logits.data.set(row, (T - 1) * V);
      const targetOffsets = new Int32Array(T + 1).fill(1, T);
      const targets = Int32Array.of(V - 1);
      const alone = { logits: { dtype: "bf16", data: row }, targetOffsets: Int32Array.of(0, 1), targets };
      const whole = { logits, targetOffsets, targets };
      const [small, large] = [ops.logprobs(alone), ops.logprobs(whole)];
      const dlogprobs = Float32Array.of(1);
      const expected = ops.logprobsBackward({ ...alone, lse: small.lse, dlogprobs });
      ops.logprobsBackward({ ...whole, lse: large.lse, dlogprobs, dlogits: logits });
      const last = logits.data.subarray((T - 1) * V);
      console.log(large.logprobs[0] === small.logprobs[0] && large.logprobs[0] < -10,
        Buffer.compare(Buffer.from(last.slice().buffer), Buffer.from(expected.data.buffer)), last[V - 1] !== 0);
    `,
      );
      expect(status, stderr).toBe(0);
      expect(stdout.trim()).toBe("true 0 true");
    },
  );
});

describe("12. the temperature", () => {
  const rows = rowsOf(3, 50);
  it.each([0.3, 0.7, 1.5])("of %f divides the logits, and the gradient once more", (temperature) => {
    const cooled = { ...rows, logits: rows.logits.map((x) => x / temperature) };
    const [got, want] = [ops.logprobs({ ...rows, temperature }), ops.logprobs(cooled)];
    expect(farthest(got.logprobs, want.logprobs)).toBeLessThan(2e-5);
    const dlogprobs = Float32Array.of(1, -2, 0.5);
    const gradient = ops.logprobsBackward({ ...rows, temperature, lse: got.lse, dlogprobs });
    const scaled = ops.logprobsBackward({ ...cooled, lse: want.lse, dlogprobs }).map((d) => d / temperature);
    expect(farthest(gradient, scaled)).toBeLessThan(2e-5);
  });

  it("is a number for all rows or one for each", () => {
    const each = Float32Array.of(0.7, 1, 2);
    const { logprobs } = ops.logprobs({ ...rows, temperature: each });
    each.forEach((temperature, t) => {
      expect(logprobs[t]).toBe(ops.logprobs({ ...rows, temperature }).logprobs[t]);
    });
  });
});

describe("13. log-probabilities over a support", () => {
  const V = 40;
  const rows = rowsOf(2, V);
  rows.targets.set([3, 30]); // the second one is outside of what is kept
  const kept = (_: number, v: number) => v < 20;
  const masked: LogprobsInputs = { ...rows, keep: keepMask(2, V, kept) };
  const exp = (t: number, v: number) => Math.exp(rows.logits[t * V + v]);
  const mass = (t: number) => Array.from({ length: 20 }, (_, v) => exp(t, v)).reduce((sum, e) => sum + e, 0);

  it("are renormalised over what is kept and the target", () => {
    const { logprobs, entropy } = ops.logprobs({ ...masked, entropy: true });
    expect(logprobs[0]).toBeCloseTo(Math.log(exp(0, 3) / mass(0)), 5);
    expect(logprobs[1]).toBeCloseTo(Math.log(exp(1, 30) / (mass(1) + exp(1, 30))), 5);
    expect(entropy).toEqual(ops.logprobs({ ...rows, entropy: true }).entropy);
  });

  it("have no gradient outside of it", () => {
    const { lse } = ops.logprobs(masked);
    const dlogits = ops.logprobsBackward({ ...masked, lse, dlogprobs: Float32Array.of(1, 1) });
    dlogits.forEach((d, i) => {
      const inside = i % V < 20 || i === V + 30;
      expect(d !== 0, `entry ${i}`).toBe(inside);
    });
    [0, 1].forEach((t) => {
      const sum = Array.from(dlogits.subarray(t * V, (t + 1) * V)).reduce((total, d) => total + d, 0);
      expect(Math.abs(sum)).toBeLessThan(1e-6);
    });
  });
});

describe("14. a row's bits depend on that row alone", () => {
  const [T, V] = [37, 3001];
  const rows = rowsOf(T, V);
  const part = (first: number, last: number) => ({
    logits: rows.logits.slice(first * V, last * V),
    targetOffsets: Int32Array.from({ length: last - first + 1 }, (_, t) => t),
    targets: rows.targets.slice(first, last),
  });

  it("alone, in a batch, and with any number of threads", () => {
    const whole = ops.logprobs(rows).logprobs as Float32Array;
    for (const count of [1, 2, 5]) {
      setNumThreads(count);
      expect(bits(ops.logprobs(rows).logprobs as Float32Array)).toBe(bits(whole));
    }
    for (const [first, last] of [
      [0, 1],
      [5, 6],
      [3, 20],
      [36, 37],
    ]) {
      const some = ops.logprobs(part(first, last)).logprobs as Float32Array;
      expect(bits(some)).toBe(bits(whole.slice(first, last)));
    }
  });

  it("so every ratio of the first update is exactly 1", () => {
    const oldLogprobs = new Float32Array(T);
    for (let t = 0; t < T; t++) oldLogprobs[t] = ops.logprobs(part(t, t + 1)).logprobs[0];
    const ratios = new Float32Array(T);
    const update: PolicyUpdateArguments = {
      ...rows,
      oldLogprobs,
      advantages: randomArrays(9).normals(T),
      weights: new Float32Array(T).fill(1 / T),
      epsLow: 0.2,
      epsHigh: 0.2,
      ratios,
    };
    const { metrics } = ops.policyUpdate.clip(update);
    expect(Array.from(ratios)).toEqual(new Array<number>(T).fill(1));
    expect(metrics.clipFraction).toBe(0);
  });
});
