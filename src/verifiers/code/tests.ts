/** What a program has to do, as the answer of its problem says it, and whether it did. */

/** An expression that is evaluated after the program, and the JSON value that it must have. */
export interface ProgramCall {
  readonly call: string;
  readonly result: unknown;
}

/** What the program is given on its standard input, and what it must write. */
export interface ProgramCase {
  readonly input: string;
  readonly output: string;
}

export type ProgramTests =
  | {
      readonly calls: readonly ProgramCall[];
      /** two numbers are equal where they differ by at most this, times the larger of 1 and the expected one's size */
      readonly tolerance: number;
    }
  | { readonly cases: readonly ProgramCase[] };

/** @throws TypeError or RangeError that says what was expected of the answer */
export function readTests(answer: unknown): ProgramTests {
  if (!isRecord(answer)) return refuse("answer", "a record with calls or cases", answer);
  const { calls, cases, tolerance = 0, ...rest } = answer;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) return refuse("answer", "calls or cases, and tolerance", unknown);
  if ((calls === undefined) === (cases === undefined)) return refuse("answer", "either calls or cases", answer);
  if (typeof tolerance !== "number" || !(tolerance >= 0 && tolerance < Infinity)) {
    return refuse("tolerance", "a number ≥ 0", tolerance);
  }
  if (cases === undefined) return { calls: listOf(calls, "calls").map(readCall), tolerance };
  return { cases: listOf(cases, "cases").map(readCase) };
}

function readCall(value: unknown, index: number): ProgramCall {
  const where = `calls[${index}]`;
  if (!isRecord(value)) return refuse(where, "{ call, result }", value);
  const { call, result } = value;
  if (typeof call !== "string" || call.trim() === "") return refuse(`${where}.call`, "an expression", call);
  if (result === undefined) return refuse(`${where}.result`, "a JSON value", result);
  const inexact = unsafeInteger(result);
  if (inexact !== undefined) {
    // JSON.parse has rounded it already: whatever is compared with it, the verdict would be about another number.
    throw new RangeError(
      `verify: expected ${where}.result to hold integers below 2^53, received ${inexact}; compare larger ones as texts`,
    );
  }
  return { call, result };
}

function readCase(value: unknown, index: number): ProgramCase {
  const where = `cases[${index}]`;
  if (!isRecord(value)) return refuse(where, "{ input, output }", value);
  const { input = "", output } = value;
  if (typeof input !== "string") return refuse(`${where}.input`, "a text", input);
  if (typeof output !== "string") return refuse(`${where}.output`, "a text", output);
  return { input, output };
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function listOf(value: unknown, name: string): readonly unknown[] {
  return Array.isArray(value) && value.length > 0
    ? (value as unknown[])
    : refuse(name, "a list of at least one", value);
}

function refuse(name: string, expected: string, received: unknown): never {
  throw new TypeError(`verify: expected ${name} to be ${expected}, received ${JSON.stringify(received)}`);
}

function unsafeInteger(value: unknown): number | undefined {
  if (typeof value === "number") return Number.isInteger(value) && !Number.isSafeInteger(value) ? value : undefined;
  if (typeof value !== "object" || value === null) return undefined;
  for (const part of Object.values(value)) {
    const found = unsafeInteger(part);
    if (found !== undefined) return found;
  }
  return undefined;
}

/**
 * Whether a program's value is the expected one. It goes no deeper than the expected value does, and reads own fields
 * alone: the program has chosen the names of the fields.
 */
export function sameResult(expected: unknown, given: unknown, tolerance: number): boolean {
  if (typeof expected === "number" && typeof given === "number") {
    return expected === given || Math.abs(expected - given) <= tolerance * Math.max(1, Math.abs(expected));
  }
  if (Array.isArray(expected)) {
    if (!Array.isArray(given) || given.length !== expected.length) return false;
    return expected.every((part, i) => sameResult(part, given[i], tolerance));
  }
  if (!isRecord(expected)) return expected === given;
  if (!isRecord(given)) return false;
  const names = Object.keys(expected);
  return (
    names.length === Object.keys(given).length &&
    names.every((name) => Object.hasOwn(given, name) && sameResult(expected[name], given[name], tolerance))
  );
}

/** Whether two outputs are the same text, white space at the ends of lines and empty lines at the end apart. */
export function sameOutput(expected: string, given: string): boolean {
  return withoutTrailing(expected) === withoutTrailing(given);
}

const withoutTrailing = (text: string): string =>
  text
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n")
    .trimEnd();
