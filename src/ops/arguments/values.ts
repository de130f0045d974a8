/** What arrays of numbers the ops take. */

/** A float array on the host: what kernels take. The reference also takes and gives Float64Array. */
export type Floats = Float32Array | Float64Array;

/** How the numbers of an array are stored. Everything is computed in f32. */
export type Dtype = "f32" | "bf16" | "f16";

/** Numbers of a stated type; of a half type, their bits. */
export interface Typed {
  readonly dtype: Dtype;
  /** a Float32Array of f32, a Uint16Array of bf16 and f16 */
  readonly data: Float32Array | Uint16Array;
}

/** What logits, hidden states and weights may be. */
export type Values = Floats | Typed;

/** The gradient of values: stored as they are. */
export type GradientOf<V extends Values> = V extends Typed ? Typed : Floats;

/** bfloat16 numbers by their bits: the upper halves of f32. */
export function bf16(bits: Uint16Array): Typed {
  return { dtype: "bf16", data: bits };
}

/** IEEE binary16 numbers by their bits. */
export function f16(bits: Uint16Array): Typed {
  return { dtype: "f16", data: bits };
}
