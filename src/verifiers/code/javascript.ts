/** Programs in JavaScript, interpreted in a worker thread without access to anything of this process. */

import { once } from "node:events";
import { setTimeout as wait } from "node:timers/promises";
import { Worker } from "node:worker_threads";

import type { ProgramVerifier } from "../verifier.ts";
import { codeVerifier, type ProgramJob, type ProgramRun } from "./code-verifier.ts";
import { javascriptWorker } from "./javascript-worker.ts";
import { jsonOf } from "./json.ts";
import { resolveLimits, type ProgramLimits } from "./limits.ts";

/** The last JavaScript program of a solution, a script, passes the tests of the answer, `{ calls }` or `{ cases }`. */
export function javascriptVerifier(marker: string, options: ProgramLimits = {}): ProgramVerifier {
  const limits = resolveLimits("javascriptVerifier", options);
  // As many as run at a time, kept for the next programs; idle ones keep no process alive.
  const idle: Worker[] = [];
  return codeVerifier({
    language: ["javascript", "js", "node", "nodejs", "mjs", "cjs"],
    marker,
    concurrency: limits.concurrency,
    run: (job) => runJavascript(job, idle, limits),
  });
}

/** QuickJS's own bound on its stack, and room for it on the thread's. */
const stackBytes = 2 ** 20;
const threadStackMegabytes = 32;
/** Beyond the program's time, for the interpreter to notice it. */
const graceMs = 1000;

interface Ended {
  readonly values: readonly (string | undefined)[];
  readonly output: string;
  readonly finished: boolean;
}

async function runJavascript(
  job: ProgramJob,
  idle: Worker[],
  { seconds, memory, output }: Required<ProgramLimits>,
): Promise<ProgramRun> {
  const worker = idle.pop() ?? (await startWorker(idle));
  worker.ref();
  worker.postMessage({ ...job, seconds, memory, maxOutput: output });
  const ended = (await nextMessage(worker, 1000 * seconds + graceMs)) as Ended | undefined;
  if (ended === undefined) {
    await worker.terminate();
    return { values: [], output: "", finished: false };
  }
  worker.unref();
  idle.push(worker);
  return { ...ended, values: ended.values.map((text) => (text === undefined ? undefined : jsonOf(text))) };
}

async function startWorker(idle: Worker[]): Promise<Worker> {
  const worker = new Worker(javascriptWorker, {
    eval: true,
    env: {},
    execArgv: [],
    workerData: { from: import.meta.url, stackBytes },
    resourceLimits: { stackSizeMb: threadStackMegabytes },
  });
  let failure: unknown = "its thread ended";
  // Without a listener the error of a thread that waits for work would end this process.
  worker.on("error", (error) => (failure = error));
  worker.once("exit", () => {
    const at = idle.indexOf(worker);
    if (at >= 0) idle.splice(at, 1);
  });
  if ((await nextMessage(worker)) === undefined) {
    throw new Error(`verify: expected the interpreter of JavaScript to start, but: ${String(failure)}`);
  }
  return worker;
}

/** Undefined where the thread ends first, as one out of memory does, or the time. */
async function nextMessage(worker: Worker, milliseconds?: number): Promise<unknown> {
  const settled = new AbortController();
  const { signal } = settled;
  try {
    return await Promise.race([
      once(worker, "message", { signal }).then(([message]: unknown[]) => message),
      once(worker, "exit", { signal }).then(() => undefined),
      ...(milliseconds === undefined ? [] : [wait(milliseconds, undefined, { signal })]),
    ]);
  } catch {
    // The error of a thread; it has ended.
    return undefined;
  } finally {
    settled.abort();
  }
}
