/** A sample of problems that are read one after the other, without those that are there already. */

import { createHash } from "node:crypto";

import type { TextProblem } from "../tasks/text.ts";

/** A number in [0, 1) that depends on these three alone, uniform over ids: the first 48 bits of their SHA-256. */
export function placeOf(purpose: string, seed: number, id: string): number {
  const hash = createHash("sha256").update(`${purpose}\n${seed}\n${id}`).digest();
  return hash.readUIntBE(0, 6) / 2 ** 48;
}

interface Row {
  readonly problem: TextProblem;
  readonly line: number;
  readonly place: number;
}

/**
 * Keeps the problems with the smallest places, so that which ones depends on their ids and the seed, not on their order. Two
 * with one id have one place: the second is found as long as the first is kept.
 */
export class Sample {
  readonly #most: number;
  readonly #seed: number;
  #rows: Row[] = [];
  readonly #ids = new Map<string, number>();
  readonly #prompts = new Map<string, number>();

  constructor(most: number, seed: number) {
    this.#most = most;
    this.#seed = seed;
  }

  /** Takes a problem, unless one that is kept has its id or its prompt: then it says which and on what line. */
  add(problem: TextProblem, line: number): { readonly of: "id" | "prompt"; readonly line: number } | undefined {
    const sameId = this.#ids.get(problem.id);
    if (sameId !== undefined) return { of: "id", line: sameId };
    const samePrompt = this.#prompts.get(problem.prompt);
    if (samePrompt !== undefined) return { of: "prompt", line: samePrompt };
    this.#remember({ problem, line, place: placeOf("sample", this.#seed, problem.id) });
    if (this.#rows.length >= 2 * this.#most) this.#trim();
    return undefined;
  }

  /** What is kept, by line. */
  take(): TextProblem[] {
    this.#trim();
    return this.#rows.map(({ problem }) => problem);
  }

  #remember(row: Row): void {
    this.#rows.push(row);
    this.#ids.set(row.problem.id, row.line);
    this.#prompts.set(row.problem.prompt, row.line);
  }

  #trim(): void {
    if (this.#rows.length <= this.#most) return;
    const kept = this.#rows.sort((a, b) => a.place - b.place).slice(0, this.#most);
    this.#rows = [];
    this.#ids.clear();
    this.#prompts.clear();
    for (const row of kept.sort((a, b) => a.line - b.line)) this.#remember(row);
  }
}
