/** Values on the command line. What does not parse is refused with what was expected. */

import { InvalidArgumentError, Option } from "commander";

export function finiteNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new InvalidArgumentError("Expected a number.");
  return value;
}

export function notNegative(text: string): number {
  const value = finiteNumber(text);
  if (value >= 0) return value;
  throw new InvalidArgumentError("Expected a number of at least 0.");
}

export function integerFrom(least: number): (text: string) => number {
  return (text) => {
    const value = finiteNumber(text);
    if (!Number.isSafeInteger(value) || value < least) {
      throw new InvalidArgumentError(`Expected an integer of at least ${least}.`);
    }
    return value;
  };
}

/** `--json <file>`, the same for every command that has a result. */
export function jsonOption(): Option {
  return new Option("--json <file>", "write the result to a file");
}
