import { spawnSync } from "node:child_process";
import type { ProgramVerifier } from "../../src/verifiers/verifier.ts";

/** Whether there is a Python to run programs with, for tests that are skipped by name without one. */
export const hasPython = spawnSync("python3", ["-c", "import resource"]).status === 0;

/** Tests of a program that has to square numbers: it is told the calls, never the results. */
export const squares = {
  calls: [
    { call: "f(2)", result: 4 },
    { call: "f(13)", result: 169 },
  ],
};

/** The same by standard input and output. */
export const squaresOfLines = {
  cases: [
    { input: "2\n", output: "4\n" },
    { input: "13", output: "169" },
  ],
};

/** The verdict, or what it was refused with. */
export async function verdictOf(
  verifier: ProgramVerifier,
  solution: string,
  answer: unknown,
): Promise<number | string> {
  try {
    return await verifier.verify(solution, answer, true);
  } catch (error) {
    return (error as Error).message;
  }
}
