import { describe, expect, it } from "vitest";
import { bitsOf, floatsOf, fromBf16, fromF16, roundTo, toBf16, toF16, widen } from "../../src/ops/halves.ts";
import { bf16, f16 } from "../../src/ops/ops.ts";

const everyHalf = Array.from({ length: 65536 }, (_, bits) => bits);

/** Halfway from one half float to the next. */
const between = (from: (bits: number) => number, bits: number): number => (from(bits) + from((bits + 1) & 0xffff)) / 2;

/** The first index at which two arrays differ, −1 where they are the same. */
const firstDifference = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from({ length: Math.max(a.length, b.length) }).findIndex((_, i) => !Object.is(a[i], b[i]));

describe("half floats", () => {
  it.each([
    ["bf16", fromBf16, toBf16],
    ["f16", fromF16, toF16],
  ] as const)("%s: every number keeps its bits on the way to a double and back", (_name, from, to) => {
    const wrong = everyHalf.filter((bits) => !Number.isNaN(from(bits)) && to(from(bits)) !== bits);
    expect(wrong).toEqual([]);
    const nans = everyHalf.filter((bits) => Number.isNaN(from(bits)));
    expect(nans.every((bits) => Number.isNaN(from(to(from(bits)))))).toBe(true);
    expect(nans.length).toBe(_name === "bf16" ? 2 * 127 : 2 * 1023);
  });

  it.each([
    ["bf16", fromBf16, toBf16, 0x7f7f],
    ["f16", fromF16, toF16, 0x7bff],
  ] as const)("%s: between two neighbours the nearer one, halfway the even one", (_name, from, to, largest) => {
    for (let bits = 0; bits < largest; bits += 7) {
      const [low, high] = [from(bits), from(bits + 1)];
      const middle = (low + high) / 2;
      expect(to(middle)).toBe(bits % 2 === 0 ? bits : bits + 1);
      expect(to(-middle)).toBe((bits % 2 === 0 ? bits : bits + 1) | 0x8000);
      expect(to((low + middle) / 2)).toBe(bits);
      expect(to((middle + high) / 2)).toBe(bits + 1);
    }
  });

  it("known numbers have their known bits", () => {
    expect([1, -2, 65504, 65519, 65520, 2 ** -24, 2 ** -25, Infinity].map(toF16)).toEqual([
      0x3c00, 0xc000, 0x7bff, 0x7bff, 0x7c00, 1, 0, 0x7c00,
    ]);
    expect([1, -2, 3.140625, 3.5e38, -Infinity].map(toBf16)).toEqual([0x3f80, 0xc000, 0x4049, 0x7f80, 0xff80]);
  });

  it.each([
    ["bf16", fromBf16, toBf16],
    ["f16", fromF16, toF16],
  ] as const)("%s: arrays of f32 and of f64 have the bits of their elements, one by one", (dtype, from, to) => {
    const some = everyHalf.filter((bits) => bits % 7 === 0 || (bits & 0x3ff) < 2);
    // These, what lies halfway to the next ones, and the f32 numbers beside both; then numbers of all sizes.
    const words = new Uint32Array(
      Float32Array.from([...some.map(from), ...some.map((bits) => between(from, bits))]).buffer,
    );
    const near = [...words].flatMap((word) => [word - 1, word, word + 1]);
    const all = Array.from({ length: 20_000 }, (_, i) => (i * 214_729) % 2 ** 32);
    const values = new Float32Array(Uint32Array.from([...near, ...all]).buffer).filter((value) => !Number.isNaN(value));
    const bits = Uint16Array.from(values, to);
    expect(firstDifference(bitsOf(dtype, values), bits)).toBe(-1);
    expect(firstDifference(bitsOf(dtype, Float64Array.from(values)), bits)).toBe(-1);
    for (const into of [new Float32Array(values.length), new Float64Array(values.length)]) {
      roundTo(dtype, values, into);
      const expected = into.map((_, i) => from(bits[i]));
      expect(firstDifference(into, expected)).toBe(-1);
      widen(dtype, bits, into.fill(7));
      expect(firstDifference(into, expected)).toBe(-1);
    }
    const nans = new Float32Array(Uint32Array.of(0x7f800001, 0x7fffffff, 0xff800001, 0xffc00000).buffer);
    expect([...bitsOf(dtype, nans)].map(from)).toEqual([NaN, NaN, NaN, NaN]);
    roundTo(dtype, nans, nans);
    expect([...nans]).toEqual([NaN, NaN, NaN, NaN]);
  });

  it("arrays are converted element by element, floats are given back as they are", () => {
    const floats = Float32Array.of(0.5, -1.25, 3);
    expect(floatsOf(bf16(bitsOf("bf16", floats)))).toEqual(floats);
    expect(floatsOf(f16(bitsOf("f16", floats)))).toEqual(floats);
    expect(floatsOf(floats)).toBe(floats);
    expect(floatsOf({ dtype: "f32", data: floats })).toBe(floats);
  });
});
