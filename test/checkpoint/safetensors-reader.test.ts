import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SafetensorsFile } from "../../src/checkpoint/safetensors-reader.ts";
import { saveSafetensors } from "../../src/checkpoint/safetensors-writer.ts";
import { Random } from "../../src/random.ts";

let folder = "";
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), "stepcredit-"))));
afterAll(() => rmSync(folder, { recursive: true }));

/** A file of these parts: the length as it is claimed, the header, the bytes of the tensors. */
function file(header: unknown, body: number, claimed?: bigint): string {
  const text = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(claimed ?? BigInt(text.length));
  const path = join(folder, "model.safetensors");
  writeFileSync(path, Buffer.concat([length, text, Buffer.alloc(body)]));
  return path;
}

const tensor = (dtype: unknown, shape: unknown, ...offsets: unknown[]) => ({ dtype, shape, data_offsets: offsets });

describe("a safetensors file", () => {
  it.each([undefined, "f32", "bf16", "f16"] as const)("gives back what was saved as %s", async (dtype) => {
    const random = new Random(3);
    // Multiples of 1/8 up to 8: exact in every type.
    const numbers = Float32Array.from({ length: 300_007 }, () => Math.floor(random.next() * 128) / 8 - 8);
    const path = join(folder, "saved.safetensors");
    const tensors = [
      { name: "a", shape: [7], data: numbers.subarray(0, 7) },
      { name: "b.weight", shape: [3, 100_000], data: numbers.subarray(7) },
      { name: "none", shape: [0, 4], data: new Float32Array(0) },
    ];
    await saveSafetensors(path, tensors, { metadata: { step: "3" }, ...(dtype && { dtype }) });
    const opened = await SafetensorsFile.open(path);
    expect(opened.metadata).toEqual({ format: "pt", step: "3" });
    expect([...opened.tensors.values()].map(({ name, shape }) => ({ name, shape }))).toEqual(
      tensors.map(({ name, shape }) => ({ name, shape })),
    );
    for (const { name, data } of tensors) {
      const read = new Float32Array(data.length);
      await opened.read(name, read);
      expect(Buffer.compare(Buffer.from(read.buffer), Buffer.from(data.slice().buffer))).toBe(0);
    }
    await opened.close();
  });

  it("gives doubles as f32, and keeps infinities, NaN and the smallest halves", async () => {
    const path = join(folder, "special.safetensors");
    await saveSafetensors(path, [{ name: "a", shape: [2], data: Float64Array.of(0.1, -1e300) }]);
    const doubles = await SafetensorsFile.open(path);
    const read = new Float32Array(2);
    await doubles.read("a", read);
    expect(read).toEqual(Float32Array.of(0.1, -Infinity));
    await doubles.close();
    const special = Float32Array.of(Infinity, -Infinity, NaN, 2 ** -24, -0);
    for (const dtype of ["bf16", "f16"] as const) {
      await saveSafetensors(path, [{ name: "a", shape: [5], data: special }], { dtype });
      const opened = await SafetensorsFile.open(path);
      const back = new Float32Array(5);
      await opened.read("a", back);
      expect(back).toEqual(special);
      await opened.close();
    }
  });

  it.each([
    ["an empty file", () => join(folder, "empty"), "the length of the header to be 8 bytes, received a file of 0"],
    [
      "a header of 2⁶⁰ bytes",
      () => file({}, 8, 2n ** 60n),
      "the length of the header to be 2 … 10 bytes, received 1152921504606846976",
    ],
    ["a truncated header", () => file("{}", 0, 40n), "the length of the header to be 2 … 2 bytes, received 40"],
    ["a header that is not JSON", () => file("{'a'}", 0), "the header to be JSON"],
    ["a header that is not UTF-8", () => file("{}", 4, 6n), "the header to be JSON"],
    ["a header that is a list", () => file([1], 0), "the header to be an object, received [1]"],
    ["metadata that is not text", () => file({ __metadata__: { a: 1 } }, 0), "__metadata__ to be an object of strings"],
    ["a tensor that is a number", () => file({ a: 3 }, 0), '"a" to be an object, received 3'],
    ["an unknown dtype", () => file({ a: tensor("F31", [1], 0, 4) }, 4), 'dtype of "a" to be one of BOOL'],
    [
      "a dtype from the prototype",
      () => file({ a: tensor("toString", [1], 0, 4) }, 4),
      'dtype of "a" to be one of BOOL',
    ],
    [
      "a negative size",
      () => file({ a: tensor("F32", [-1], 0, 4) }, 4),
      'shape of "a" to be a list of sizes, received [-1]',
    ],
    [
      "a shape that is missing",
      () => file({ a: { dtype: "F32", data_offsets: [0, 4] } }, 4),
      'shape of "a" to be a list',
    ],
    ["offsets that are not two", () => file({ a: tensor("F32", [1], 0) }, 4), 'data_offsets of "a" to be two offsets'],
    ["a fractional offset", () => file({ a: tensor("F32", [1], 0, 4.5) }, 8), 'data_offsets of "a" to be two offsets'],
    [
      "offsets that fall",
      () => file({ a: tensor("F32", [1], 4, 0) }, 4),
      'data_offsets of "a" to be within the 4 bytes',
    ],
    [
      "a truncated file",
      () => file({ a: tensor("F32", [2], 0, 8) }, 7),
      'data_offsets of "a" to be within the 7 bytes',
    ],
    [
      "a shape that the bytes do not hold",
      () => file({ a: tensor("F32", [3], 0, 8) }, 8),
      'data_offsets of "a" to be 12 bytes apart, for F32 [3], received 8',
    ],
    [
      "a shape whose product overflows",
      () => file({ a: tensor("F32", [2 ** 40, 2 ** 40], 0, 8) }, 8),
      'data_offsets of "a" to be',
    ],
    [
      "tensors that overlap",
      () => file({ a: tensor("F32", [2], 0, 8), b: tensor("F32", [1], 4, 8) }, 8),
      'data_offsets of "b" not to overlap another tensor',
    ],
    [
      "a gap between tensors",
      () => file({ a: tensor("F32", [1], 0, 4), b: tensor("F32", [1], 8, 12) }, 12),
      'data_offsets of "b" to leave no gap',
    ],
    [
      "bytes after the last tensor",
      () => file({ a: tensor("F32", [1], 0, 4) }, 12),
      "the tensors to end with the file, received 4 of 12 bytes",
    ],
  ])("is refused for %s, with its name and the field's", async (_name, path, message) => {
    writeFileSync(join(folder, "empty"), "");
    const error = await SafetensorsFile.open(path()).then(
      () => undefined,
      (reason: unknown) => reason as Error,
    );
    expect(error?.message).toContain(`${path()}: expected ${message}`);
  });

  it("refuses to read a tensor that is missing, of another size or of a type without fractions", async () => {
    const opened = await SafetensorsFile.open(file({ a: tensor("I64", [1], 0, 8), b: tensor("F32", [2], 8, 16) }, 16));
    await expect(opened.read("c", new Float32Array(1))).rejects.toThrow('tensor "c" to be there');
    await expect(opened.read("b", new Float32Array(3))).rejects.toThrow('shape of "b" to be 3 elements, received 2');
    await expect(opened.read("a", new Float32Array(1))).rejects.toThrow(
      'dtype of "a" to be one of F32, F64, BF16, F16, received I64',
    );
    await opened.close();
  });
});
