/** Problems of a file in JSON Lines: a prompt, an answer and an id in fields that can be named, others passed over. */

import { createReadStream } from "node:fs";

import { readJsonl } from "../jsonl.ts";
import type { TextProblem } from "../tasks/text.ts";
import { ConfigError } from "./config.ts";
import { placeOf, Sample } from "./problem-sample.ts";

/** Names of fields. A name with dots in it leads into nested records, where no field has all of it for its name. */
export interface ProblemFields {
  readonly prompt: string;
  readonly answer: string;
  /** where it is "id", a problem without one has its line's number for one */
  readonly id: string;
}

export interface ReadOptions {
  /** default prompt, answer and id */
  readonly fields?: ProblemFields;
  /** which problems can be used; the others are counted and forgotten. Default all */
  readonly fits?: (problem: TextProblem) => boolean;
  /** as many usable problems are read; default all */
  readonly first?: number;
  /** as many usable problems as are kept of the file; default all. Which: a sample by a hash of the ids */
  readonly most?: number;
  /** of that sample; default 0 */
  readonly seed?: number;
}

export interface ProblemSet {
  /** in the order of the file */
  readonly problems: readonly TextProblem[];
  /** those that do not fit */
  readonly leftOut: number;
  /** those passed over because one that was kept has the same id or the same prompt */
  readonly duplicates: number;
  /** of the first of them: its line, and what it has in common with which line */
  readonly firstDuplicate: string | undefined;
}

const standardFields: ProblemFields = { prompt: "prompt", answer: "answer", id: "id" };

/**
 * Reads a file line by line; what it holds at a time is at most twice what it keeps.
 * @throws ConfigError that names the file, the line and the field
 */
export async function readProblems(path: string, options: ReadOptions = {}): Promise<ProblemSet> {
  const { fields = standardFields, fits = () => true, first = Infinity, most = Infinity, seed = 0 } = options;
  const sample = new Sample(most, seed);
  let [usable, leftOut, duplicates] = [0, 0, 0];
  let firstDuplicate: string | undefined;
  for await (const { problem, line } of problemsOf(path, fields)) {
    if (!fits(problem)) {
      leftOut++;
      continue;
    }
    const duplicate = sample.add(problem, line);
    if (duplicate !== undefined) {
      duplicates++;
      firstDuplicate ??= `line ${line} has the ${duplicate.of} of line ${duplicate.line}`;
    } else if (++usable === first) break;
  }
  const problems = sample.take();
  if (problems.length + leftOut === 0) throw new ConfigError(`${path}: expected problems, found none`);
  return { problems, leftOut, duplicates, firstDuplicate };
}

/** The problems of a file as they are read. Throws as `readProblems` does. */
async function* problemsOf(
  path: string,
  fields: ProblemFields,
): AsyncGenerator<{ problem: TextProblem; line: number }> {
  try {
    for await (const row of readJsonl(createReadStream(path))) {
      const where = `${path}: line ${row.line}`;
      if ("malformed" in row) throw new ConfigError(`${where}: ${row.malformed}`);
      yield { problem: parseProblem(row.value, fields, row.line, where), line: row.line };
    }
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(`${path}: cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

function parseProblem(value: unknown, fields: ProblemFields, line: number, where: string): TextProblem {
  if (typeof value !== "object" || value === null) {
    throw new ConfigError(`${where}: expected a record, received ${JSON.stringify(value)}`);
  }
  const [prompt, answer] = [fieldOf(value, fields.prompt), fieldOf(value, fields.answer)];
  const id = fieldOf(value, fields.id) ?? (fields.id === standardFields.id ? line : undefined);
  const refuse = (field: string, expected: string, received: unknown): never => {
    throw new ConfigError(`${where}: ${field}: expected ${expected}, received ${JSON.stringify(received)}`);
  };
  if (typeof id !== "string" && typeof id !== "number") return refuse(fields.id, "a text or a number", id);
  if (typeof prompt !== "string" || prompt === "") return refuse(fields.prompt, "a text", prompt);
  const isRecord = typeof answer === "object" && answer !== null && !Array.isArray(answer);
  if (typeof answer !== "string" && typeof answer !== "number" && !isRecord) {
    return refuse(fields.answer, "a text, a number or a record", answer);
  }
  return { id: String(id), prompt, answer };
}

/** A field by its name, or by a path of names between dots; undefined where there is none. */
function fieldOf(record: object, name: string): unknown {
  if (Object.hasOwn(record, name)) return (record as Readonly<Record<string, unknown>>)[name];
  return name.split(".").reduce<unknown>((inner, part) => {
    const isRecord = typeof inner === "object" && inner !== null && Object.hasOwn(inner, part);
    return isRecord ? (inner as Readonly<Record<string, unknown>>)[part] : undefined;
  }, record);
}

/**
 * Problems to train on and others, by a hash of the seed and each id: where a problem belongs depends on nothing else, so that
 * it stays there when the file grows.
 * @param share of those to train on, about
 */
export function splitProblems(
  problems: readonly TextProblem[],
  share: number,
  seed: number,
): { readonly training: readonly TextProblem[]; readonly heldOut: readonly TextProblem[] } {
  const isTraining = ({ id }: TextProblem): boolean => placeOf("split", seed, id) < share;
  return {
    training: problems.filter(isTraining),
    heldOut: problems.filter((problem) => !isTraining(problem)),
  };
}
