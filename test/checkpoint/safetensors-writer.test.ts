import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { saveSafetensors } from "../../src/checkpoint/safetensors-writer.ts";
import { floatsOf } from "../../src/ops/halves.ts";
import { bf16, f16, type Floats } from "../../src/ops/ops.ts";
import type { Parameter } from "../../src/policy.ts";

let folder = "";
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "stepcredit-"))));
afterEach(() => rmSync(folder, { recursive: true }));

const parameter = (name: string, shape: readonly number[], data: Floats): Parameter => ({
  name,
  shape,
  data,
  grad: data.slice(),
});

interface Entry {
  readonly dtype: string;
  readonly shape: number[];
  readonly data_offsets: [number, number];
}

/** By the format's page: a little-endian u64, that many bytes of JSON, then the tensors. */
function parse(path: string): { header: Record<string, Entry>; metadata: unknown; body: Buffer; begin: number } {
  const bytes = readFileSync(path);
  const length = Number(bytes.readBigUInt64LE(0));
  const { __metadata__: metadata, ...header } = JSON.parse(bytes.subarray(8, 8 + length).toString("utf8")) as Record<
    string,
    Entry
  >;
  return { header, metadata, body: bytes.subarray(8 + length), begin: 8 + length };
}

describe("a saved checkpoint", () => {
  it("holds each tensor's bytes where its header says, aligned and without gaps", async () => {
    // Views into a larger array, as a policy has them.
    const flat = Float32Array.from({ length: 20 }, (_, i) => i + 0.25);
    const parameters = [
      parameter("a.weight", [2, 3], flat.subarray(2, 8)),
      parameter("größe ×", [1], flat.subarray(8, 9)),
      parameter("empty", [0, 4], flat.subarray(9, 9)),
      parameter("c", [5], flat.subarray(9, 14)),
    ];
    const path = join(folder, "policy.safetensors");
    await saveSafetensors(path, parameters);
    const { header, body, begin } = parse(path);
    expect(begin % 8).toBe(0);
    expect(Object.keys(header)).toEqual(parameters.map(({ name }) => name));
    let end = 0;
    for (const { name, shape, data } of parameters) {
      const entry = header[name];
      expect(entry).toEqual({ dtype: "F32", shape, data_offsets: [end, end + 4 * data.length] });
      end = entry.data_offsets[1];
      const read = Array.from(data, (_, i) => body.readFloatLE(entry.data_offsets[0] + 4 * i));
      expect(read).toEqual([...data]);
    }
    expect(body).toHaveLength(end);
    expect(end).toBe(4 * 12);
  });

  it("keeps float64 as it is", async () => {
    const path = join(folder, "f64.safetensors");
    await saveSafetensors(path, [parameter("x", [2], Float64Array.of(Math.PI, -1e-300))]);
    const { header, body } = parse(path);
    expect(header["x"]).toEqual({ dtype: "F64", shape: [2], data_offsets: [0, 16] });
    expect([body.readDoubleLE(0), body.readDoubleLE(8)]).toEqual([Math.PI, -1e-300]);
  });

  it.each([
    ["BF16", bf16(Uint16Array.of(0x3f80, 0xffff, 1))],
    ["F16", f16(Uint16Array.of(0x3c00, 0x8000, 1))],
    ["F32", { dtype: "f32", data: Float32Array.of(0.1, -0, 1e-40) }],
  ] as const)("keeps the bits of %s as they are, and widens them where that is asked", async (dtype, data) => {
    const path = join(folder, "typed.safetensors");
    await saveSafetensors(path, [{ name: "x", shape: [3], data }]);
    const width = data.data.BYTES_PER_ELEMENT;
    expect(parse(path).header["x"]).toEqual({ dtype, shape: [3], data_offsets: [0, 3 * width] });
    expect(parse(path).body.toString("hex")).toBe(Buffer.from(data.data.buffer).toString("hex"));
    await saveSafetensors(path, [{ name: "x", shape: [3], data }], { dtype: "f32" });
    const { header, body } = parse(path);
    expect(header["x"]).toMatchObject({ dtype: "F32" });
    expect([0, 4, 8].map((offset) => body.readFloatLE(offset))).toEqual([...floatsOf(data)]);
  });

  it("is aligned whatever the length of its header", async () => {
    for (let length = 1; length <= 9; length++) {
      const path = join(folder, `${length}.safetensors`);
      await saveSafetensors(path, [parameter("n".repeat(length), [1], Float32Array.of(length))]);
      const { begin, body } = parse(path);
      expect(begin % 8).toBe(0);
      expect(body.readFloatLE(0)).toBe(length);
    }
  });

  it("carries metadata", async () => {
    const path = join(folder, "m.safetensors");
    await saveSafetensors(path, [parameter("x", [1], Float32Array.of(1))], { metadata: { seed: "7" } });
    expect(parse(path).metadata).toEqual({ format: "pt", seed: "7" });
  });

  it("replaces an older one whole, and leaves no unfinished file", async () => {
    const path = join(folder, "policy.safetensors");
    writeFileSync(path, "older".repeat(1000));
    writeFileSync(`${path}.unfinished`, "of a run that was killed".repeat(1000));
    await saveSafetensors(path, [parameter("x", [3], Float32Array.of(1, 2, 3))]);
    expect(parse(path).body).toHaveLength(12);
    expect(readdirSync(folder)).toEqual(["policy.safetensors"]);
  });

  it("does not touch what is there when it cannot be written", async () => {
    const path = join(folder, "missing", "policy.safetensors");
    await expect(saveSafetensors(path, [])).rejects.toThrow(/ENOENT/);
    expect(readdirSync(folder)).toEqual([]);
  });
});
