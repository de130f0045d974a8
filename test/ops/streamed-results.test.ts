import { describe, expect, it } from "vitest";
import { bitsOf } from "../../src/ops/halves.ts";
import { cpuIsas, openOps } from "../../src/ops/native.ts";
import { Random } from "../../src/random.ts";

/** Two whole blocks of a row and a part of one; rows begin at every place that a vector can have. */
const V = 2 * 2048 + 37;
/** From 32 MiB of f32 on a result goes past the caches, and of half types from twice as many elements on; in place it never does. */
const T = Math.ceil(2 ** 24 / V) + 1;

const random = new Random(5);
const logits = new Float32Array(T * V);
for (let t = 0; t < T; t++) {
  // Rising, falling and level rows: the maximum that exponentials are made against moves from block to block, or not.
  const slope = ((t % 3) - 1) / 512;
  for (let v = 0; v < V; v++) logits[t * V + v] = 4 * random.next() + slope * v;
}
const targetOffsets = Int32Array.from({ length: T + 1 }, (_, t) => t);
const args = {
  targetOffsets,
  targets: Int32Array.from({ length: T }, (_, t) => (t * 997) % V),
  oldLogprobs: new Float32Array(T).fill(-8),
  advantages: Float32Array.from({ length: 2 * T }, (_, i) => (i % 2 === 0 ? 0.75 : 0)),
  weights: Float32Array.from({ length: T }, (_, t) => (t % 7 === 0 ? 0 : 1)),
  epsLow: 0.2,
  epsHigh: 0.28,
};
const entropyWeights = new Float32Array(T).fill(0.01);

describe.each(cpuIsas())("%s: the gradient of logits that is streamed past the caches", (isa) => {
  const ops = openOps("cpu", { isa, blas: false });
  const bonuses = [
    ["alone", {}],
    ["with that of the entropy", { entropyWeights }],
  ] as const;

  it.each(bonuses)("%s has the bits of one in place, in f32", (_name, bonus) => {
    const apart = new Float32Array(T * V);
    const inPlace = logits.slice();
    ops.policyUpdate.clip({ ...args, ...bonus, logits, dlogits: apart });
    ops.policyUpdate.clip({ ...args, ...bonus, logits: inPlace, dlogits: inPlace });
    expect(Buffer.compare(Buffer.from(apart.buffer), Buffer.from(inPlace.buffer))).toBe(0);
    expect(apart.some((d) => d !== 0)).toBe(true);
  });

  it.each(["bf16", "f16"] as const)("has the bits of one in place, in %s", (dtype) => {
    const halves = bitsOf(dtype, logits);
    const apart = new Uint16Array(T * V);
    const inPlace = halves.slice();
    ops.policyUpdate.clip({ ...args, logits: { dtype, data: halves }, dlogits: { dtype, data: apart } });
    ops.policyUpdate.clip({ ...args, logits: { dtype, data: inPlace }, dlogits: { dtype, data: inPlace } });
    expect(Buffer.compare(Buffer.from(apart.buffer), Buffer.from(inPlace.buffer))).toBe(0);
    expect(apart.some((bits) => (bits & 0x7fff) !== 0)).toBe(true);
  });
});
