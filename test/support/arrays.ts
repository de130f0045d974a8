import { bitsOf, floatsOf } from "../../src/ops/halves.ts";
import type { Typed } from "../../src/ops/ops.ts";
import { random } from "./random.ts";

/** A seeded stream of random arrays for tests of ops: the same seed gives the same numbers. */
export interface RandomArrays {
  /** in [0, 1) */
  uniform(): number;
  /** mean 0, standard deviation 1 */
  normal(): number;
  /** in 0 … below − 1 */
  integer(below: number): number;
  /** `count` float32 normals times `scale` */
  normals(count: number, scale?: number): Float32Array;
  /** `count` integers in 0 … below − 1 */
  integers(count: number, below: number): Int32Array;
}

export type Half = "bf16" | "f16";

/** Numbers rounded to a half type, as their bits. */
export const typed = (dtype: Half, values: Float32Array): Typed => ({ dtype, data: bitsOf(dtype, values) });

/** The numbers of bits. */
export const widened = (values: Typed): Float32Array => Float32Array.from(floatsOf(values));

export function randomArrays(seed: number): RandomArrays {
  const uniform = random(seed);
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  const integer = (below: number) => Math.floor(uniform() * below);
  return {
    uniform,
    normal,
    integer,
    normals: (count, scale = 1) => Float32Array.from({ length: count }, () => normal() * scale),
    integers: (count, below) => Int32Array.from({ length: count }, () => integer(below)),
  };
}
