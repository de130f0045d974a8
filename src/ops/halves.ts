/** Half floats in JavaScript: bf16 and f16 bits to numbers and back, to the nearest and ties to even. */

import type { Dtype, Floats, Typed } from "./arguments/values.ts";

const single = new Float32Array(1);
const bitsOfSingle = new Uint32Array(single.buffer);

/** The number of bf16 bits. Exact. */
export function fromBf16(bits: number): number {
  bitsOfSingle[0] = bits << 16;
  return single[0];
}

/** The bf16 bits nearest to a number, which is rounded to f32 first; overflow gives ±∞, a NaN stays one. */
export function toBf16(value: number): number {
  single[0] = value;
  return bf16OfSingle(bitsOfSingle[0]);
}

/** The same of the bits of an f32 number. */
function bf16OfSingle(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** The number of f16 bits. Exact. */
export function fromF16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** The f16 bits nearest to a number; from 65,520 on ±∞, a NaN stays one. */
export function toF16(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size >= 65520) return sign | 0x7c00;
  // The spacing of f16 numbers around `size`: 2⁻²⁴ below 2⁻¹⁴, else 2¹⁰ to a power of two.
  const exponent = size < 2 ** -14 ? -14 : Math.floor(Math.log2(size));
  const steps = toEven(size / 2 ** (exponent - 10));
  if (exponent === -14) return sign | steps; // denormal, or the smallest normal ones: their bits follow on
  return sign | (((exponent + 14) << 10) + steps);
}

/** The same of the bits of an f32 number, by integers alone. */
function f16OfSingle(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const size = bits & 0x7fffffff;
  if (size > 0x7f800000) return 0x7e00;
  if (size >= 0x477ff000) return sign | 0x7c00; // 65,520
  // From 2⁻¹⁴ on 13 bits of the fraction go, and the exponent is counted from another place.
  if (size >= 0x38800000) return sign | ((size + 0xfff + ((size >>> 13) & 1) - 0x38000000) >>> 13);
  // A fraction of 24 bits as a multiple of 2⁻²⁴.
  const shift = 126 - (size >>> 23);
  if (shift > 24) return sign;
  const fraction = (size & 0x7fffff) | 0x800000;
  const [steps, rest, half] = [fraction >>> shift, fraction & ((1 << shift) - 1), 1 << (shift - 1)];
  return sign | (rest > half || (rest === half && steps % 2 === 1) ? steps + 1 : steps);
}

/** The nearest integer, ties to even; of a size below 2⁵². */
function toEven(x: number): number {
  const below = Math.floor(x);
  const rest = x - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}

const conversions = {
  bf16: { from: fromBf16, to: toBf16 },
  f16: { from: fromF16, to: toF16 },
} satisfies Record<Exclude<Dtype, "f32">, object>;

/** The numbers of an array of any type; the array itself where it is one of floats. */
export function floatsOf(values: Floats | Typed): Floats {
  if (!("dtype" in values)) return values;
  if (values.dtype === "f32") return values.data as Float32Array;
  return Float32Array.from(values.data, conversions[values.dtype].from);
}

let f16Numbers: Float32Array | undefined;

/** The number of every f16 bit pattern `[65536]`. */
export function numbersOfF16(): Float32Array {
  return (f16Numbers ??= Float32Array.from({ length: 65536 }, (_, bits) => fromF16(bits)));
}

const wordsOf = ({ buffer, byteOffset, length }: Float32Array): Uint32Array =>
  new Uint32Array(buffer, byteOffset, length);

/** Writes the numbers of half floats into an array of their length. */
export function widen(dtype: Exclude<Dtype, "f32">, bits: Uint16Array, into: Floats): void {
  if (dtype === "f16") {
    const numbers = numbersOfF16();
    for (let i = 0; i < bits.length; i++) into[i] = numbers[bits[i]];
  } else if (into instanceof Float32Array) {
    const words = wordsOf(into);
    for (let i = 0; i < bits.length; i++) words[i] = bits[i] << 16;
  } else {
    for (let i = 0; i < bits.length; i++) into[i] = fromBf16(bits[i]);
  }
}

/** Bits of a half type for an array of floats. */
export function bitsOf(dtype: Exclude<Dtype, "f32">, values: Floats): Uint16Array {
  if (!(values instanceof Float32Array)) return Uint16Array.from(values, conversions[dtype].to);
  const words = wordsOf(values);
  const bits = new Uint16Array(words.length);
  if (dtype === "bf16") for (let i = 0; i < bits.length; i++) bits[i] = bf16OfSingle(words[i]);
  else for (let i = 0; i < bits.length; i++) bits[i] = f16OfSingle(words[i]);
  return bits;
}

/** Writes the nearest numbers that the type holds into an array of the same length. */
export function roundTo(dtype: Exclude<Dtype, "f32">, values: Floats, into: Floats): void {
  if (!(values instanceof Float32Array && into instanceof Float32Array)) {
    const { from, to } = conversions[dtype];
    for (let i = 0; i < values.length; i++) into[i] = from(to(values[i]));
    return;
  }
  const words = wordsOf(values);
  if (dtype === "bf16") {
    const rounded = wordsOf(into);
    for (let i = 0; i < words.length; i++) rounded[i] = bf16OfSingle(words[i]) << 16;
  } else {
    const numbers = numbersOfF16();
    for (let i = 0; i < words.length; i++) into[i] = numbers[f16OfSingle(words[i])];
  }
}
