/**
 * Tensors to a file in the safetensors format: a u64 length, a JSON header of `{name: {dtype, shape, data_offsets}}`, then the
 * tensors, little-endian and without gaps. https://huggingface.co/docs/safetensors
 */

import { open, rename, rm, type FileHandle } from "node:fs/promises";

import { bitsOf, floatsOf } from "../ops/halves.ts";
import type { Dtype, Floats, Typed } from "../ops/ops.ts";

/** A tensor to be saved: what a `Parameter` is. */
export interface NamedTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** row-major; numbers, or the bits of a half type */
  readonly data: Floats | Typed;
}

export interface SafetensorsOptions {
  readonly metadata?: Readonly<Record<string, string>>;
  /** stored type of the numbers; default the arrays' own */
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
  for (const { name, shape, data: typed } of tensors) {
    const data = arrayOf(typed);
    const [dtype, width] = storage(typed, options.dtype);
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
    for (const { data: typed } of tensors) {
      for (let i = 0; i < arrayOf(typed).length; i += chunkElements) {
        await writeFully(file, stored(part(typed, i, i + chunkElements), options.dtype));
      }
    }
  });
  return 8 + json.length + offset;
}

const arrayOf = (data: Floats | Typed): Floats | Uint16Array => ("dtype" in data ? data.data : data);

function part(data: Floats | Typed, begin: number, end: number): Floats | Typed {
  return "dtype" in data ? { ...data, data: data.data.subarray(begin, end) } : data.subarray(begin, end);
}

function storage(data: Floats | Typed, stated: Dtype | undefined): [name: string, bytes: number] {
  if (stated === undefined && data instanceof Float64Array) return ["F64", 8];
  const dtype = stated ?? ("dtype" in data ? data.dtype : "f32");
  return dtype === "f32" ? ["F32", 4] : [dtype.toUpperCase(), 2];
}

function stored(data: Floats | Typed, dtype: Dtype | undefined): ArrayBufferView {
  if (dtype === undefined) return arrayOf(data);
  return dtype === "f32" ? Float32Array.from(floatsOf(data)) : bitsOf(dtype, floatsOf(data));
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
