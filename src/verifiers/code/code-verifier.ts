/** What verifiers of code share: the program is found, run on its tests, and what it gave is compared here. */

import { Turns } from "../turns.ts";
import { afterMarker, type ProgramVerifier } from "../verifier.ts";
import { programIn, type ProgramLanguage } from "./program.ts";
import { readTests, sameOutput, sameResult, type ProgramTests } from "./tests.ts";

/** A program and what is asked of it. No expected value is in it: a program cannot give away what it was never told. */
export type ProgramJob =
  | { readonly program: string; readonly calls: readonly string[] }
  | { readonly program: string; readonly input: string };

/** What came of it. Whatever a program does to the place it runs in can only change this, never what it is compared with. */
export interface ProgramRun {
  /** of the calls in their order, as far as it came; undefined where a call threw or its value is none of JSON */
  readonly values: readonly unknown[];
  /** what it wrote on its standard output */
  readonly output: string;
  /** whether it came to its end by itself, within its limits and without an error */
  readonly finished: boolean;
}

/** Runs a program within its limits. Rejects only where it could not be run at all, which is not the program's fault. */
export type ProgramRunner = (job: ProgramJob) => Promise<ProgramRun>;

export interface CodeVerifierOptions {
  readonly language: ProgramLanguage;
  readonly marker: string;
  readonly concurrency: number;
  readonly run: ProgramRunner;
}

/** 1 where the program passes all tests of the answer, else 0. Rejects where the answer is none or nothing can be run. */
export function codeVerifier({ language, marker, concurrency, run }: CodeVerifierOptions): ProgramVerifier {
  const turns = new Turns(concurrency);
  const extract = (solution: string): string | undefined =>
    programIn(afterMarker(solution, marker) ?? solution, language);
  return {
    extract,
    async verify(solution, answer) {
      const tests = readTests(answer);
      const program = extract(solution);
      if (program === undefined || program.trim() === "") return 0;
      return (await turns.take(() => passes(program, tests, run))) ? 1 : 0;
    },
  };
}

async function passes(program: string, tests: ProgramTests, run: ProgramRunner): Promise<boolean> {
  if ("calls" in tests) {
    const { values, finished } = await run({ program, calls: tests.calls.map(({ call }) => call) });
    return finished && tests.calls.every(({ result }, i) => sameResult(result, values[i], tests.tolerance));
  }
  for (const { input, output } of tests.cases) {
    const given = await run({ program, input });
    if (!given.finished || !sameOutput(output, given.output)) return false;
  }
  return true;
}
