/** What commands share that read JSON Lines and write them, a line for a line, as fast as they are taken. */

import type { FileHandle } from "node:fs/promises";
import type { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";

import { systemReason, UsageError } from "./errors.ts";
import { openInput, openOutput, writeJson } from "./output.ts";
import { continueOutput, type BegunOutput } from "./resume.ts";

export interface Streams {
  readonly stdin: Readable;
  readonly stdout: Writable;
  readonly stderr: Writable & { readonly isTTY?: boolean };
}

export interface JsonlOptions {
  readonly out?: string;
  readonly json?: string;
  /** goes on with `out` where an earlier call left it */
  readonly resume?: boolean;
}

/** One run of such a command. */
export interface JsonlWork {
  /** @param begun what an earlier call has left; the lines follow behind it */
  lines(chunks: AsyncIterable<Uint8Array>, begun: BegunOutput | undefined): AsyncIterable<string>;
  /** what was done, for a person: beside the result, or on stderr where that goes to stdout */
  summary(): readonly string[];
  /** what `--json` gets */
  result(): object;
}

/** Opens all files before the work starts; `-` is stdin. An error of a file names it. */
export async function workOnJsonl(
  path: string,
  options: JsonlOptions,
  streams: Streams,
  work: JsonlWork,
): Promise<void> {
  const input = path === "-" ? undefined : await openInput(path);
  const opened: FileHandle[] = input === undefined ? [] : [input];
  // The streams close their files; a file whose stream is never made, or never read, is closed at the end.
  const chunks = input?.createReadStream() ?? streams.stdin;
  try {
    const begun = await beginOrContinue(options, input);
    const output = begun?.file ?? (options.out === undefined ? undefined : await openOutput(options.out, input));
    if (output !== undefined) opened.push(output);
    const json = options.json === undefined ? undefined : await openOutput(options.json, input);
    if (json !== undefined) opened.push(json);

    const lines = work.lines(readable(chunks, path), begun);
    if (output === undefined) await pipeline(lines, streams.stdout, { end: false });
    else {
      await pipeline(lines, output.createWriteStream({ start: begun?.length ?? 0 })).catch(nameFile(options.out));
      await begun?.putRedone();
    }

    const reportTo = output === undefined ? streams.stderr : streams.stdout;
    for (const line of work.summary()) reportTo.write(`${line}\n`);
    if (json !== undefined) await writeJson(json, work.result());
  } finally {
    chunks.destroy();
    for (const file of opened) await file.close();
  }
}

async function beginOrContinue(options: JsonlOptions, input?: FileHandle): Promise<BegunOutput | undefined> {
  const { out, resume = false } = options;
  if (!resume) return undefined;
  if (out === undefined) throw new UsageError("--resume: expected --out, the file to go on with");
  return continueOutput(out, input);
}

/** Rethrows what went wrong with a file that is being written, with its name. */
function nameFile(path: string | undefined): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof Error) || !("syscall" in error)) throw error;
    throw new Error(`cannot write ${path}: ${systemReason(error)}`, { cause: error });
  };
}

/** The bytes of the input; an error while reading them names it. */
async function* readable(chunks: AsyncIterable<Uint8Array>, path: string): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks;
  } catch (error) {
    throw new UsageError(`cannot read ${path}: ${systemReason(error)}`, { cause: error });
  }
}
