/** How a command fails, and what is said about it: one line. */

import { CommanderError } from "commander";

/** What the caller asked for cannot be done: exit 2, where other errors exit 1. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** 0 where help or the version was asked for, 2 for bad usage, 1 for everything else. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  return error instanceof UsageError ? 2 : 1;
}

/** `stepcredit: …`, in one line. */
export function errorLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const line = message
    .replace(/^(stepcredit|error): */, "")
    .replace(/\s*\n\(Did you mean (.*)\?\)/, " (did you mean $1?)")
    .trim()
    .replace(/\s*\n\s*/g, " ");
  return `stepcredit: ${line}`;
}

/** `no such file or directory` for an error of the file system, where its message also names the call and the path. */
export function systemReason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return /^[A-Z]+: (.+?), \w+/.exec(error.message)?.[1] ?? error.message;
}
