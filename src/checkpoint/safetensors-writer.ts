/**
 * Tensors to a file in the safetensors format: a u64 length, a JSON header of `{name: {dtype, shape, data_offsets}}`, then the
 * tensors, little-endian and without gaps. https://huggingface.co/docs/safetensors
 */

import { open, rename, rm, type FileHandle } from "node:fs/promises";

import { bitsOf } from "../ops/halves.ts";
import type { Dtype, Floats } from "../ops/ops.ts";

/** A tensor to be saved: what a `Parameter` is. */
export interface NamedTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** row-major */
  readonly data: Floats;
}

export interface SafetensorsOptions {
  readonly metadata?: Readonly<Record<string, string>>;
  /** stored type of the numbers; default the arrays' own, f32 or f64 */
  readonly dtype?: Dtype;
}

const chunkElements = 1 << 20;

/**
 * Writes the tensors in their order; the file appears under its name only when it is whole and on the disk. Gives the number of
 * bytes.
 */
export async function saveSafetensors(
  path: string,
  tensors: readonly NamedTensor[],
  options: SafetensorsOptions = {},
): Promise<number> {
  const header: Record<string, unknown> = { __metadata__: { format: "pt", ...options.metadata } };
  let offset = 0;
  for (const { name, shape, data } of tensors) {
    const [dtype, width] = storage(data, options.dtype);
    const end = offset + data.length * width;
    header[name] = { dtype, shape, data_offsets: [offset, end] };
    offset = end;
  }
  const text = JSON.stringify(header);
  // The tensors begin at a multiple of 8 bytes.
  const json = Buffer.from(text + " ".repeat((8 - (Buffer.byteLength(text) % 8)) % 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  await replaceFile(path, async (file) => {
    await writeFully(file, length);
    await writeFully(file, json);
    for (const { data } of tensors) {
      for (let i = 0; i < data.length; i += chunkElements) {
        await writeFully(file, stored(data.subarray(i, i + chunkElements), options.dtype));
      }
    }
  });
  return 8 + json.length + offset;
}

function storage(data: Floats, dtype: Dtype | undefined): [name: string, bytes: number] {
  if (dtype === undefined && data instanceof Float64Array) return ["F64", 8];
  return dtype === undefined || dtype === "f32" ? ["F32", 4] : [dtype.toUpperCase(), 2];
}

function stored(data: Floats, dtype: Dtype | undefined): ArrayBufferView {
  if (dtype === undefined) return data;
  return dtype === "f32" ? Float32Array.from(data) : bitsOf(dtype, data);
}

/** Writes a file under another name, syncs it, and gives it its own. What was there before stays until then. */
export async function replaceFile(path: string, write: (file: FileHandle) => Promise<void>): Promise<void> {
  const unfinished = `${path}.unfinished`;
  try {
    const file = await open(unfinished, "w");
    try {
      await write(file);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(unfinished, path);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
}

async function writeFully(file: FileHandle, view: ArrayBufferView): Promise<void> {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  for (let written = 0; written < bytes.length;) {
    written += (await file.write(bytes, written)).bytesWritten;
  }
}
