/** Programs in Python, each in a process of its own that has given up everything but computing. */

import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { ProgramVerifier } from "../verifier.ts";
import { codeVerifier, type ProgramJob, type ProgramRun } from "./code-verifier.ts";
import { jsonOf } from "./json.ts";
import { resolveLimits, type ProgramLimits } from "./limits.ts";
import { pythonBootstrap } from "./python-bootstrap.ts";
import { runProcess, type ProcessEnd } from "./run-process.ts";

export const pythonContainments = ["kernel", "audit"] as const;
export type PythonContainment = (typeof pythonContainments)[number];

export interface PythonOptions extends ProgramLimits {
  /** the interpreter, 3.8 or later; default python3 */
  readonly python?: string;
  /**
   * What holds the program besides its limits. kernel: seccomp refuses all system calls that computing does not need, on
   * Linux on x86_64 and arm64; elsewhere there is no verdict. audit: a hook inside Python refuses them, for systems
   * without seccomp; it stops slips and common tricks, not a determined program. Default kernel.
   */
  readonly containment?: PythonContainment;
}

/** The last Python program of a solution passes the tests of the answer, `{ calls }` or `{ cases }`. */
export function pythonVerifier(marker: string, options: PythonOptions = {}): ProgramVerifier {
  const { python = "python3", containment = "kernel" } = options;
  const limits = resolveLimits("pythonVerifier", options);
  return codeVerifier({
    language: ["python", "py", "python3"],
    marker,
    concurrency: limits.concurrency,
    run: (job) => runPython(job, python, containment, limits),
  });
}

async function runPython(
  job: ProgramJob,
  python: string,
  containment: PythonContainment,
  { seconds, memory, output }: Required<ProgramLimits>,
): Promise<ProgramRun> {
  const { program } = job;
  const asked = "calls" in job ? { calls: job.calls } : {};
  const given = {
    ...asked,
    program,
    words: [...new Set([program, ...(asked.calls ?? [])].join("\n").match(/\w+/g))],
    containment,
    cpuSeconds: Math.ceil(seconds),
    clockSeconds: Math.ceil(2 * seconds) + 1,
    memory: Math.floor(memory),
  };
  const directory = await mkdtemp(join(tmpdir(), "stepcredit-python-"));
  try {
    // The process may become another user, who has to be able to look into it and to write nothing there.
    await chmod(directory, 0o755);
    const end = await runProcess(python, ["-s", "-S", "-B", "-c", pythonBootstrap], {
      directory,
      environment,
      input: "input" in job ? job.input : "",
      job: JSON.stringify(given),
      milliseconds: 2000 * seconds,
      maxBytes: output,
    });
    return runOf(end, python);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** All that it gets of the environment. One seed of hashes: sets come in the same order in every run. */
const environment = { PATH: process.env["PATH"], PYTHONHASHSEED: "0", PYTHONUTF8: "1" };

function runOf({ code, isWhole, output, answers, errors, failure }: ProcessEnd, python: string): ProgramRun {
  const [first, ...lines] = answers.split("\n");
  const start = jsonOf(first) as { readonly ready?: true; readonly refused?: string } | undefined;
  if (start?.ready !== true) {
    const reason = start?.refused ?? failure ?? (errors.trim().split("\n").at(-1) || `it ended with code ${code}`);
    throw new Error(`verify: expected ${python} to run a program contained, but: ${reason}`);
  }
  // The last line is empty, or was cut off.
  const values = lines.slice(0, -1).map((line) => (jsonOf(line) as { readonly value?: unknown } | null)?.value);
  return { values, output, finished: isWhole && code === 0 };
}
