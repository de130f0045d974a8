/** A child process with a bound on time and on what it writes, in a process group of its own that is killed at the end. */

import { spawn, type ChildProcess } from "node:child_process";
import type { Duplex, Readable } from "node:stream";

export interface ProcessOptions {
  readonly directory: string;
  readonly environment: NodeJS.ProcessEnv;
  /** for its standard input */
  readonly input: string;
  /** for its descriptor 3, where it also writes its answers */
  readonly job: string;
  /** by the clock, from the start */
  readonly milliseconds: number;
  /** of everything that it writes */
  readonly maxBytes: number;
}

export interface ProcessEnd {
  /** null: a signal ended it */
  readonly code: number | null;
  /** false: it was ended at a limit */
  readonly isWhole: boolean;
  readonly output: string;
  readonly answers: string;
  readonly errors: string;
  /** why it could not be started, where it could not */
  readonly failure?: string;
}

/** Never rejects. When it resolves, nothing of the process is left. */
export async function runProcess(
  command: string,
  args: readonly string[],
  options: ProcessOptions,
): Promise<ProcessEnd> {
  const { directory, environment, input, job, milliseconds, maxBytes } = options;
  const child = spawn(command, args, {
    cwd: directory,
    env: environment,
    detached: true,
    stdio: ["pipe", "pipe", "pipe", "pipe"],
  });
  const [stdin, stdout, stderr, channel] = child.stdio as unknown as readonly [Duplex, Readable, Readable, Duplex];
  let isWhole = true;
  let written = 0;
  const stop = (): void => {
    isWhole = false;
    killGroup(child);
    // What is left in the pipes is not wanted: a process of another group could hold them open for ever.
    for (const stream of [stdin, stdout, stderr, channel]) stream.destroy();
  };
  const collect = (stream: Readable): Buffer[] => {
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => {
      written += chunk.length;
      if (written > maxBytes) stop();
      else chunks.push(chunk);
    });
    return chunks;
  };
  // A process that ends without reading closes its pipes; that is no failure of this one.
  for (const stream of [stdin, stdout, stderr, channel]) stream.on("error", () => undefined);
  const [output, errors, answers] = [stdout, stderr, channel].map(collect);
  const timer = setTimeout(stop, milliseconds);
  stdin.end(input);
  channel.end(job);
  const ended = await new Promise<{ readonly code: number | null; readonly failure?: string }>((resolve) => {
    child.once("error", (error) => resolve({ code: null, failure: error.message }));
    child.once("close", (code) => resolve({ code }));
  });
  clearTimeout(timer);
  killGroup(child);
  return { ...ended, isWhole, output: textOf(output), answers: textOf(answers), errors: textOf(errors) };
}

const textOf = (chunks: readonly Buffer[]): string => Buffer.concat(chunks).toString("utf8");

/** The process and all that it has started and that is still in its group. */
function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // Nothing of the group is left.
  }
}
