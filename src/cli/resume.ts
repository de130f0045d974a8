/**
 * Goes on with an output in JSON Lines that an earlier call has left at any moment, killed or not. Its whole lines stay as they
 * are, byte for byte; what there is of a last line without its end is dropped. Lines that are to be done again are not replaced
 * while the work goes on: what comes in their place is kept in a file of its own, FILE.redone, and put in at the end, or when
 * the next call goes on, by a file that is renamed.
 */

import { constants, createReadStream, createWriteStream } from "node:fs";
import { appendFile, open, readFile, rename, rm, type FileHandle } from "node:fs/promises";
import { pipeline } from "node:stream/promises";

import { splitLines } from "../jsonl.ts";
import { UsageError } from "./errors.ts";
import { openOutput } from "./output.ts";

export interface BegunOutput {
  /** open for writing at `length` */
  readonly file: FileHandle;
  /** bytes of the whole lines */
  readonly length: number;
  /** The values of these lines, in order. Throws a UsageError where a line is no JSON. */
  values(): AsyncGenerator<unknown, void>;
  /** Keeps what takes the place of a line, counted from 0; its text has no line feed. */
  redo(line: number, text: string): Promise<void>;
  /** Puts it there. */
  putRedone(): Promise<void>;
}

/** Opens a file to go on with, or a new one. */
export async function continueOutput(path: string, input?: FileHandle): Promise<BegunOutput> {
  const flags = constants.O_RDWR | constants.O_CREAT;
  const found = await openOutput(path, input, flags);
  try {
    await found.truncate(await wholeLength(found));
  } finally {
    await found.close();
  }
  await putRedone(path);
  const file = await openOutput(path, input, flags);
  const length = (await file.stat()).size;
  return {
    file,
    length,
    values: () => valuesOf(path, length),
    redo: (line, text) => appendFile(redoneOf(path), `${line} ${text}\n`),
    putRedone: () => putRedone(path),
  };
}

/** Takes away what a call before has left to be put into the file, which is about to begin anew. */
export async function forgetRedone(path: string): Promise<void> {
  await rm(redoneOf(path), { force: true });
}

const redoneOf = (path: string): string => `${path}.redone`;
const lineFeed = 0x0a;
const pieceBytes = 2 ** 16;

/** Up to the last line feed. */
async function wholeLength(file: FileHandle): Promise<number> {
  const piece = Buffer.alloc(pieceBytes);
  for (let end = (await file.stat()).size; end > 0;) {
    const start = Math.max(0, end - pieceBytes);
    const { bytesRead } = await file.read(piece, 0, end - start, start);
    const at = piece.subarray(0, bytesRead).lastIndexOf(lineFeed);
    if (at >= 0) return start + at + 1;
    end = start;
  }
  return 0;
}

async function* valuesOf(path: string, length: number): AsyncGenerator<unknown, void> {
  if (length === 0) return;
  let line = 0;
  for await (const bytes of splitLines(createReadStream(path, { end: length - 1 }))) {
    line++;
    try {
      yield JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as unknown;
    } catch (error) {
      throw new UsageError(`cannot go on with ${path}: line ${line} is no JSON: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }
}

/** Does nothing where nothing was done again. The lines that were are held in memory. */
async function putRedone(path: string): Promise<void> {
  const kept = await readFile(redoneOf(path)).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  });
  if (kept === undefined) return;
  const redone = new Map<number, string>();
  // A last line without its end is of a call that was killed, and is done again.
  for (const text of kept.toString("utf8").split("\n").slice(0, -1)) {
    const space = text.indexOf(" ");
    redone.set(Number(text.slice(0, space)), text.slice(space + 1));
  }
  const written = `${path}.written`;
  await pipeline(async function* () {
    let line = 0;
    for await (const bytes of splitLines(createReadStream(path))) {
      yield redone.get(line++) ?? bytes;
      yield "\n";
    }
  }, createWriteStream(written));
  const file = await open(written, "r+");
  await file.sync();
  await file.close();
  await rename(written, path);
  await rm(redoneOf(path));
}
