/**
 * Tensors of a safetensors file: a u64 length, a JSON header of `{name: {dtype, shape, data_offsets}}`, then the tensors,
 * little-endian and without gaps. The whole header is checked before a byte of a tensor is read.
 * https://huggingface.co/docs/safetensors
 */

import { open, type FileHandle } from "node:fs/promises";

import { numbersOfF16 } from "../ops/halves.ts";

const elementBytes = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  F64: 8,
  I64: 8,
  U64: 8,
} as const;

export type SafetensorsDtype = keyof typeof elementBytes;

/** Where a tensor lies: byte offsets from the end of the header. */
export interface StoredTensor {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** The format's own bound on the header. */
const mostHeaderBytes = 100_000_000;

const chunkElements = 1 << 18;

export class SafetensorsFile {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly #file: FileHandle;
  /** where the tensors begin in the file */
  readonly #start: number;

  private constructor(path: string, file: FileHandle, start: number, header: Header) {
    this.path = path;
    this.#file = file;
    this.#start = start;
    this.tensors = header.tensors;
    this.metadata = header.metadata;
  }

  /** Opens a file and checks its header. Throws an Error that names the file and the field. */
  static async open(path: string): Promise<SafetensorsFile> {
    const file = await open(path, "r");
    try {
      const { size } = await file.stat();
      if (size < 8) fail(path, "the length of the header", "to be 8 bytes", `a file of ${size}`);
      const prefix = Buffer.alloc(8);
      await readFully(file, prefix, 0, path);
      const length = prefix.readBigUInt64LE(0);
      const most = BigInt(Math.min(size - 8, mostHeaderBytes));
      if (length > most || length < 2n)
        fail(path, "the length of the header", `to be 2 … ${most} bytes`, String(length));
      const text = Buffer.alloc(Number(length));
      await readFully(file, text, 8, path);
      const start = 8 + Number(length);
      return new SafetensorsFile(path, file, start, parseHeader(path, text, size - start));
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** A tensor's numbers as f32, which must fit `into` exactly. f32, f16, bf16 and f64 are read; others are refused by name. */
  async read(name: string, into: Float32Array): Promise<void> {
    const tensor = this.tensors.get(name);
    if (tensor === undefined) fail(this.path, `tensor ${JSON.stringify(name)}`, "to be there", "none of that name");
    const widen = widenings[tensor.dtype as keyof typeof widenings];
    if (widen === undefined) {
      fail(
        this.path,
        `dtype of ${JSON.stringify(name)}`,
        `to be one of ${Object.keys(widenings).join(", ")}`,
        tensor.dtype,
      );
    }
    const width = elementBytes[tensor.dtype];
    const count = (tensor.end - tensor.begin) / width;
    if (count !== into.length)
      fail(this.path, `shape of ${JSON.stringify(name)}`, `to be ${into.length} elements`, String(count));
    const bytes = Buffer.alloc(Math.min(count, chunkElements) * width);
    for (let done = 0; done < count; done += chunkElements) {
      const part = bytes.subarray(0, Math.min(count - done, chunkElements) * width);
      await readFully(this.#file, part, this.#start + tensor.begin + done * width, this.path);
      widen(part, into.subarray(done, done + part.length / width));
    }
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

interface Header {
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly metadata: Readonly<Record<string, string>>;
}

function fail(path: string, field: string, expected: string, received: string): never {
  throw new Error(`${path}: expected ${field} ${expected}, received ${received}`);
}

async function readFully(file: FileHandle, into: Buffer, position: number, path: string): Promise<void> {
  for (let done = 0; done < into.length;) {
    const { bytesRead } = await file.read(into, done, into.length - done, position + done);
    if (bytesRead === 0) fail(path, `${into.length} bytes at ${position}`, "to be there", `the end after ${done}`);
    done += bytesRead;
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function parseHeader(path: string, bytes: Buffer, dataBytes: number): Header {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new Error(`${path}: expected the header to be JSON, received ${(error as Error).message}`, { cause: error });
  }
  if (!isObject(header)) return fail(path, "the header", "to be an object", JSON.stringify(header).slice(0, 60));
  const { __metadata__: metadata = {}, ...entries } = header;
  if (!isObject(metadata) || Object.values(metadata).some((value) => typeof value !== "string")) {
    return fail(path, "__metadata__", "to be an object of strings", JSON.stringify(metadata).slice(0, 60));
  }
  const tensors = Object.entries(entries).map(([name, entry]) => parseEntry(path, name, entry, dataBytes));
  checkLayout(path, tensors, dataBytes);
  return {
    tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])),
    metadata: metadata as Record<string, string>,
  };
}

function parseEntry(path: string, name: string, entry: unknown, dataBytes: number): StoredTensor {
  const quoted = JSON.stringify(name);
  if (!isObject(entry)) return fail(path, quoted, "to be an object", JSON.stringify(entry).slice(0, 60));
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== "string" || !Object.hasOwn(elementBytes, dtype)) {
    return fail(path, `dtype of ${quoted}`, `to be one of ${Object.keys(elementBytes).join(", ")}`, String(dtype));
  }
  if (!Array.isArray(shape) || !shape.every(isSize)) {
    return fail(path, `shape of ${quoted}`, "to be a list of sizes", JSON.stringify(shape)?.slice(0, 60) ?? "none");
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    return fail(
      path,
      `data_offsets of ${quoted}`,
      "to be two offsets",
      JSON.stringify(offsets)?.slice(0, 60) ?? "none",
    );
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > dataBytes) {
    fail(path, `data_offsets of ${quoted}`, `to be within the ${dataBytes} bytes of tensors`, `${begin} … ${end}`);
  }
  const bytes = shape.reduce((product, size) => product * size, elementBytes[dtype as SafetensorsDtype]);
  if (bytes !== end - begin) {
    fail(
      path,
      `data_offsets of ${quoted}`,
      `to be ${bytes} bytes apart, for ${dtype} ${JSON.stringify(shape)}`,
      String(end - begin),
    );
  }
  return { name, dtype: dtype as SafetensorsDtype, shape: shape, begin, end };
}

/** The tensors cover the rest of the file, each byte once. */
function checkLayout(path: string, tensors: readonly StoredTensor[], dataBytes: number): void {
  let covered = 0;
  for (const { name, begin, end } of tensors.toSorted((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (begin < covered) {
      fail(
        path,
        `data_offsets of ${JSON.stringify(name)}`,
        `not to overlap another tensor`,
        `a begin at ${begin}, before ${covered}`,
      );
    }
    if (begin > covered) {
      fail(path, `data_offsets of ${JSON.stringify(name)}`, `to leave no gap`, `a begin at ${begin}, after ${covered}`);
    }
    covered = end;
  }
  if (covered !== dataBytes) fail(path, "the tensors", "to end with the file", `${covered} of ${dataBytes} bytes`);
}

/** Little-endian bytes to f32 numbers. */
const widenings = {
  F32(bytes: Buffer, into: Float32Array): void {
    for (let i = 0; i < into.length; i++) into[i] = bytes.readFloatLE(4 * i);
  },
  F64(bytes: Buffer, into: Float32Array): void {
    for (let i = 0; i < into.length; i++) into[i] = bytes.readDoubleLE(8 * i);
  },
  BF16(bytes: Buffer, into: Float32Array): void {
    const bits = new Uint32Array(into.length);
    for (let i = 0; i < bits.length; i++) bits[i] = (bytes[2 * i] << 16) | (bytes[2 * i + 1] << 24);
    into.set(new Float32Array(bits.buffer));
  },
  F16(bytes: Buffer, into: Float32Array): void {
    const numbers = numbersOfF16();
    for (let i = 0; i < into.length; i++) into[i] = numbers[bytes[2 * i] | (bytes[2 * i + 1] << 8)];
  },
} satisfies Partial<Record<SafetensorsDtype, (bytes: Buffer, into: Float32Array) => void>>;
