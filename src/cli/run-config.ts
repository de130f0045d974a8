/** The configuration that a command is given: a YAML file and `--set key=value`. */

import { readFile } from "node:fs/promises";
import { basename, extname } from "node:path";

import { InvalidArgumentError, Option } from "commander";

import type { RunConfig } from "../run/config.ts";
import { systemReason, UsageError } from "./errors.ts";

/** Fields and their values as they were written. */
export type Assignments = readonly (readonly [key: string, value: string])[];

/** `--set key=value`, as often as one likes; the value is read as YAML. */
export function setOption(): Option {
  return new Option("--set <key=value>", "set a field, whatever the file says; the value is YAML").argParser(
    (text: string, before: Assignments | undefined): Assignments => {
      const at = text.indexOf("=");
      if (at < 1) throw new InvalidArgumentError("Expected key=value.");
      return [...(before ?? []), [text.slice(0, at).trim(), text.slice(at + 1)]];
    },
  );
}

/** Reads a configuration's file. Without a name it gets that of its file. */
export async function readRun(path: string, assignments: Assignments = []): Promise<RunConfig> {
  const { parseYaml } = await import("../run/config.ts");
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw new UsageError(`cannot read ${path}: ${systemReason(error)}`, { cause: error });
  }
  const config = await resolveWith(parseYaml(text, path) ?? {}, assignments, path);
  return config.name === "" ? { ...config, name: basename(path, extname(path)) } : config;
}

/** A record with fields set over it, resolved. */
export async function resolveWith(values: unknown, assignments: Assignments, where: string): Promise<RunConfig> {
  const { parseYaml, resolveRun } = await import("../run/config.ts");
  const set = Object.fromEntries(assignments.map(([key, value]) => [key, parseYaml(value, `--set ${key}`)]));
  const isRecord = typeof values === "object" && !Array.isArray(values);
  const named = assignments.length === 0 ? where : `${where} with --set`;
  return resolveRun(isRecord ? { ...values, ...set } : values, named);
}

/** Runs a command's work; a configuration that is refused is bad usage. */
export async function withConfig<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Error && error.name === "ConfigError") throw new UsageError(error.message, { cause: error });
    throw error;
  }
}
