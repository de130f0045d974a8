/**
 * Peers and floors that are Python: scripts of this folder under the system's interpreter, with as many threads as ours. A script
 * prepares one subject, says so, and times its calls whenever it is asked to, so that it can take turns with the op.
 */

import { spawn, spawnSync, type ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";
import { python } from "../../test/support/python.ts";
import type { Contestant, Sampling } from "../turns.ts";

export interface PythonJob {
  /** a function of the script */
  readonly subject: string;
  readonly shape: Readonly<Record<string, number | boolean>>;
  readonly threads: number;
}

const pathOf = (script: string): string => fileURLToPath(new URL(script, import.meta.url));

/** PyTorch's version; undefined where it is not installed. */
export function torchVersion(): string | undefined {
  return answer(["-c", "import torch; print(torch.__version__)"]);
}

/** The configuration of the OpenBLAS whose bare products are floors; undefined where there is none. */
export function openblasVersion(): string | undefined {
  return answer([pathOf("./sgemm.py"), "--version"]);
}

function answer(args: readonly string[]): string | undefined {
  const { status, stdout } = spawnSync(python, args, { encoding: "utf8" });
  return status === 0 ? stdout.trim() : undefined;
}

/** A script at work on one subject. */
export class PythonSubject implements Contestant {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  readonly #interface: Interface;
  readonly #name: string;
  #errors = "";

  private constructor(script: string, job: PythonJob) {
    this.#name = `${script} ${job.subject}`;
    this.#child = spawn(python, [pathOf(script), JSON.stringify(job)]);
    this.#child.stderr.setEncoding("utf8").on("data", (text: string) => (this.#errors += text));
    this.#interface = createInterface({ input: this.#child.stdout });
    this.#lines = this.#interface[Symbol.asyncIterator]();
  }

  /** Starts the script and waits for its first call to be over. A peer that is there is expected to work. */
  static async open(script: string, job: PythonJob): Promise<PythonSubject> {
    const subject = new PythonSubject(script, job);
    await subject.#line();
    return subject;
  }

  async sample({ time, iterations }: Sampling): Promise<readonly number[]> {
    this.#child.stdin.write(`${JSON.stringify({ seconds: time / 1000, least: iterations })}\n`);
    return (JSON.parse(await this.#line()) as { readonly samplesMs: readonly number[] }).samplesMs;
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.stdin.end();
    await exited;
    this.#interface.close();
  }

  async #line(): Promise<string> {
    const line: IteratorResult<string, unknown> = await this.#lines.next();
    if (line.done === true) throw new Error(`${this.#name}: ${this.#errors.trim().split("\n").at(-1) ?? "no message"}`);
    return line.value;
  }
}
