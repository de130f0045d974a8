/** Files that a command writes, and lines that say how far it is. */

import { open, stat, type FileHandle } from "node:fs/promises";
import type { Writable } from "node:stream";
import { systemReason, UsageError } from "./errors.ts";

/** Opens a file for writing before the work starts, so that a wrong path costs nothing. Refuses a file that is an input. */
export async function openOutput(path: string, input?: FileHandle, flags: string | number = "w"): Promise<FileHandle> {
  if (input !== undefined && (await isSameFile(path, input))) {
    throw new UsageError(`cannot write ${path}: it is the input`);
  }
  try {
    return await open(path, flags);
  } catch (error) {
    throw new UsageError(`cannot write ${path}: ${systemReason(error)}`, { cause: error });
  }
}

async function isSameFile(path: string, input: FileHandle): Promise<boolean> {
  const [there, given] = await Promise.all([stat(path).catch(() => undefined), input.stat()]);
  return there !== undefined && there.isFile() && there.dev === given.dev && there.ino === given.ino;
}

/** Opens a file for reading. */
export async function openInput(path: string): Promise<FileHandle> {
  try {
    const file = await open(path, "r");
    if (!(await file.stat()).isDirectory()) return file;
    await file.close();
  } catch (error) {
    throw new UsageError(`cannot read ${path}: ${systemReason(error)}`, { cause: error });
  }
  throw new UsageError(`cannot read ${path}: it is a directory`);
}

/** Indented JSON, ended by a line feed; closes the file. */
export async function writeJson(file: FileHandle, value: unknown): Promise<void> {
  await file.writeFile(`${JSON.stringify(value, null, 2)}\n`);
  await file.close();
}

export interface Progress {
  /** what is going on now, without a line feed; shown when it is time to */
  update(text: string): void;
  /** takes the line away */
  done(): void;
}

const redrawMs = 100;
const plainMs = 10_000;

/** On a terminal one line, redrawn in place; elsewhere a line of its own every ten seconds. */
export function progress(stream: Writable & { readonly isTTY?: boolean }, now: () => number = Date.now): Progress {
  const terminal = stream.isTTY === true;
  let last = terminal ? -Infinity : now();
  let drawn = false;
  return {
    update(text) {
      if (now() - last < (terminal ? redrawMs : plainMs)) return;
      last = now();
      drawn = terminal;
      stream.write(terminal ? `\r\u001b[K${text}` : `${text}\n`);
    },
    done() {
      if (drawn) stream.write("\r\u001b[K");
      drawn = false;
    },
  };
}
