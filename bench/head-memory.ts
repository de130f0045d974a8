/**
 * How far the peak resident memory of this process grows while `linearLogprobs` and its backward run, beside their inputs and
 * outputs, which are in memory before the measurement begins. One line of JSON.
 *
 *   node --import ./bench/register.mjs bench/head-memory.ts [T] [V] [H] [f32 | bf16]     default 4096 151936 896 bf16
 */

import { bf16, openOps } from "../src/ops/index.ts";
import { bitsOf } from "../src/ops/halves.ts";
import { evenOffsets, integers, normals } from "./inputs.ts";

const [T = 4096, V = 151936, H = 896] = process.argv.slice(2, 5).map(Number);
const dtype = process.argv[5] ?? "bf16";

const ops = openOps("cpu");
const numbers = (seed: number, count: number) => {
  if (dtype === "f32") return normals(seed, count, 0.05);
  const bits = new Uint16Array(count);
  const some = bitsOf("bf16", normals(seed, Math.min(count, 2 ** 16), 0.05));
  for (let begin = 0; begin < count; begin += some.length) bits.set(some.subarray(0, count - begin), begin);
  return bf16(bits);
};
const head = {
  hidden: numbers(1, T * H),
  weight: numbers(2, V * H),
  targetOffsets: evenOffsets(T, 1),
  targets: integers(3, T, V),
};
const touched = (count: number) => new Float32Array(count).fill(1e-30);
const saved = { lse: touched(T), logprobs: touched(T), entropy: touched(T) };
const upstream = { dlogprobs: normals(4, T), dentropy: normals(5, T) };
const gradients = { dhidden: touched(T * H), dweight: touched(V * H), dbias: touched(V) };

const peak = () => process.resourceUsage().maxRSS * 1024;
const before = Math.max(peak(), process.memoryUsage.rss());
const start = performance.now();
ops.linearLogprobs({ ...head, ...saved });
const forward = performance.now();
ops.linearLogprobsBackward({ ...head, ...saved, ...upstream, ...gradients });
const end = performance.now();

console.log(
  JSON.stringify({
    shape: `[${T}, ${H}] x [${H}, ${V}]`,
    dtype,
    growthMiB: (peak() - before) / 2 ** 20,
    peakMiB: peak() / 2 ** 20,
    forwardSeconds: (forward - start) / 1e3,
    backwardSeconds: (end - forward) / 1e3,
    finite: [...saved.logprobs, ...gradients.dbias].every(Number.isFinite),
  }),
);
