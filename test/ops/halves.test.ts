import { describe, expect, it } from "vitest";
import { bitsOf, floatsOf, fromBf16, fromF16, toBf16, toF16 } from "../../src/ops/halves.ts";
import { bf16, f16 } from "../../src/ops/ops.ts";

const everyHalf = Array.from({ length: 65536 }, (_, bits) => bits);

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

  it("arrays are converted element by element, floats are given back as they are", () => {
    const floats = Float32Array.of(0.5, -1.25, 3);
    expect(floatsOf(bf16(bitsOf("bf16", floats)))).toEqual(floats);
    expect(floatsOf(f16(bitsOf("f16", floats)))).toEqual(floats);
    expect(floatsOf(floats)).toBe(floats);
    expect(floatsOf({ dtype: "f32", data: floats })).toBe(floats);
  });
});
