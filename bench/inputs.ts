/** Seeded inputs of any size, fast: a block of random numbers, repeated. */

import { bitsOf } from "../src/ops/halves.ts";
import { randomArrays } from "../test/support/arrays.ts";

/** Odd, so that no row of a matrix repeats the one before it. */
const block = 65_537;

/** `count` float32 normals times `scale`. */
export function normals(seed: number, count: number, scale = 1): Float32Array {
  const drawn = randomArrays(seed).normals(Math.min(count, block), scale);
  const all = new Float32Array(count);
  for (let start = 0; start < count; start += drawn.length) all.set(drawn.subarray(0, count - start), start);
  return all;
}

/** The same as the bits of bf16. */
export function bf16Normals(seed: number, count: number, scale = 1): Uint16Array {
  const drawn = bitsOf("bf16", normals(seed, Math.min(count, block), scale));
  const all = new Uint16Array(count);
  for (let start = 0; start < count; start += drawn.length) all.set(drawn.subarray(0, count - start), start);
  return all;
}

/** `count` integers in 0 … below − 1. */
export function integers(seed: number, count: number, below: number): Int32Array {
  return randomArrays(seed).integers(count, below);
}

/** 0, each, 2 · each … count · each */
export function evenOffsets(count: number, each: number): Int32Array {
  return Int32Array.from({ length: count + 1 }, (_, t) => t * each);
}
