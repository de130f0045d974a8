/** Problems of a file in JSON Lines: `{ id, prompt, answer }`, other fields passed over. */

import { createReadStream } from "node:fs";

import { readJsonl } from "../jsonl.ts";
import type { TextProblem } from "../tasks/text.ts";
import { ConfigError } from "./config.ts";

/**
 * Reads all problems. One without an id has its line's number for one.
 * @throws ConfigError that names the file, the line and the field
 */
export async function readProblems(path: string): Promise<TextProblem[]> {
  const problems: TextProblem[] = [];
  try {
    for await (const row of readJsonl(createReadStream(path))) {
      const where = `${path}: line ${row.line}`;
      if ("malformed" in row) throw new ConfigError(`${where}: ${row.malformed}`);
      problems.push(parseProblem(row.value, row.line, where));
    }
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(`${path}: cannot be read: ${(error as Error).message}`, { cause: error });
  }
  if (problems.length === 0) throw new ConfigError(`${path}: expected problems, found none`);
  return problems;
}

function parseProblem(value: unknown, line: number, where: string): TextProblem {
  if (typeof value !== "object" || value === null) {
    throw new ConfigError(`${where}: expected a record, received ${JSON.stringify(value)}`);
  }
  const { id = line, prompt, answer } = value as Readonly<Record<string, unknown>>;
  const refuse = (field: string, expected: string, received: unknown): never => {
    throw new ConfigError(`${where}: ${field}: expected ${expected}, received ${JSON.stringify(received)}`);
  };
  if (typeof id !== "string" && typeof id !== "number") return refuse("id", "a text or a number", id);
  if (typeof prompt !== "string" || prompt === "") return refuse("prompt", "a text", prompt);
  const isRecord = typeof answer === "object" && answer !== null && !Array.isArray(answer);
  if (typeof answer !== "string" && typeof answer !== "number" && !isRecord) {
    return refuse("answer", "a text, a number or a record", answer);
  }
  return { id: String(id), prompt, answer };
}
