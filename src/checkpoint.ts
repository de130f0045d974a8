/**
 * Parameters on disk in the safetensors format: a u64 length, a JSON header of `{name: {dtype, shape, data_offsets}}`, then the
 * tensors, little-endian and without gaps. https://huggingface.co/docs/safetensors
 */

import { open, rename, rm } from "node:fs/promises";

import type { Parameter } from "./policy.ts";

/** Writes the tensors as they are, f32 or f64; the file appears under its name only when it is whole and on the disk. */
export async function saveSafetensors(
  path: string,
  parameters: readonly Parameter[],
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const header: Record<string, unknown> = { __metadata__: { format: "pt", ...metadata } };
  let offset = 0;
  for (const { name, shape, data } of parameters) {
    header[name] = {
      dtype: data instanceof Float32Array ? "F32" : "F64",
      shape,
      data_offsets: [offset, offset + data.byteLength],
    };
    offset += data.byteLength;
  }
  const text = JSON.stringify(header);
  // The tensors begin at a multiple of 8 bytes.
  const json = Buffer.from(text + " ".repeat((8 - (Buffer.byteLength(text) % 8)) % 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const unfinished = `${path}.unfinished`;
  try {
    const file = await open(unfinished, "w");
    try {
      await file.write(length);
      await file.write(json);
      for (const { data } of parameters) {
        const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
        for (let written = 0; written < bytes.length;) {
          written += (await file.write(bytes, written)).bytesWritten;
        }
      }
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
