/**
 * A golden vector: inputs, options and expected results of one operation, computed in float64 by the named peer. Arrays are
 * nested row-major lists, ragged ones lists of unequal length; non-finite numbers are the strings "NaN", "Infinity" and
 * "-Infinity".
 */
import type { Floats } from "../ops/ops.ts";

export type Precision = "f64" | "f32";

export type Json = null | boolean | number | string | readonly Json[] | JsonRecord;
export interface JsonRecord {
  readonly [key: string]: Json;
}

export interface Tolerance {
  readonly rtol: number;
  readonly atol: number;
}

export interface GoldenVector {
  readonly name: string;
  readonly op: string;
  readonly peer: string;
  readonly inputs: JsonRecord;
  readonly options: JsonRecord;
  readonly expected: JsonRecord;
  readonly tolerance: Readonly<Record<Precision, Tolerance>>;
  readonly tags: readonly string[];
}

/** What an adapter computed: scalars and flat arrays by the names of `expected`, metrics by theirs. */
export interface Computed {
  readonly values: Readonly<Record<string, number | Floats>>;
  readonly metrics?: Readonly<Record<string, number>>;
  /** by name, 0 at every entry that need not agree: a masked position, where the peer leaves a number and this library 0 */
  readonly compared?: Readonly<Record<string, ArrayLike<number>>>;
}

/** The vector asks for something this library has no op for. `reason` groups such vectors in the summary. */
export class UnsupportedVector extends Error {
  readonly reason: string;

  constructor(reason: string) {
    super(`unsupported: ${reason}`);
    this.name = "UnsupportedVector";
    this.reason = reason;
  }
}

/** Checks the shape of a parsed JSON file; throws an Error that says which field is wrong. */
export function readVector(json: unknown): GoldenVector {
  if (!isRecord(json)) throw new Error("expected a JSON object");
  const { name, op, peer, inputs, options, expected, tolerance, tags } = json;
  for (const [field, value] of Object.entries({ name, op })) {
    if (typeof value !== "string") throw new Error(`expected "${field}" to be a string`);
  }
  for (const [field, value] of Object.entries({ inputs, options, expected, tolerance })) {
    if (!isRecord(value)) throw new Error(`expected "${field}" to be an object`);
  }
  for (const precision of ["f64", "f32"]) {
    const bound = (tolerance as JsonRecord)[precision];
    if (!isRecord(bound) || typeof bound["rtol"] !== "number" || typeof bound["atol"] !== "number") {
      throw new Error(`expected "tolerance.${precision}" to hold the numbers rtol and atol`);
    }
  }
  return {
    name: name as string,
    op: op as string,
    peer: typeof peer === "string" ? peer : "",
    inputs: inputs as JsonRecord,
    options: options as JsonRecord,
    expected: expected as JsonRecord,
    tolerance: tolerance as unknown as GoldenVector["tolerance"],
    tags: Array.isArray(tags) ? tags.map(String) : [],
  };
}

export function isRecord(value: unknown): value is JsonRecord {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A number of the file: a JSON number, a boolean as 0 or 1, or the name of a non-finite one. */
export function toNumber(value: Json | undefined, where: string): number {
  if (typeof value === "number") return value;
  if (typeof value === "boolean") return value ? 1 : 0;
  if (value === "NaN" || value === "Infinity" || value === "-Infinity") return Number(value);
  throw new Error(`expected ${where} to be a number, found ${JSON.stringify(value) ?? "nothing"}`);
}

/** All numbers of a nested list, in row-major order. */
export function flatten(value: Json | undefined, where: string): number[] {
  return Array.isArray(value) ? value.flatMap((entry: Json) => flatten(entry, where)) : [toNumber(value, where)];
}

/** The rows of a list of lists; a list of numbers is one entry per row. */
export function rows(value: Json | undefined, where: string): number[][] {
  if (!Array.isArray(value)) throw new Error(`expected ${where} to be a list`);
  return value.map((row: Json) => flatten(row, where));
}

export function optionalNumber(options: JsonRecord, name: string): number | undefined {
  const value = options[name];
  return value === undefined || value === null ? undefined : toNumber(value, `option ${name}`);
}

export function requiredNumber(options: JsonRecord, name: string): number {
  return toNumber(options[name], `option ${name}`);
}

/** A copy in the array type of a precision. */
export function floats(precision: Precision, values: ArrayLike<number>): Floats {
  return precision === "f32" ? Float32Array.from(values) : Float64Array.from(values);
}
