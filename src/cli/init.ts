/** `stepcredit init`: a configuration with every field and what it means. */

import { open } from "node:fs/promises";

import { Command } from "commander";

import { systemReason, UsageError } from "./errors.ts";
import { jsonOption } from "./options.ts";
import { openOutput, writeJson } from "./output.ts";
import { resolveWith, setOption, withConfig, type Assignments } from "./run-config.ts";

interface InitOptions {
  readonly set?: Assignments;
  readonly json?: string;
}

export function initCommand(): Command {
  return new Command("init")
    .description("write a configuration for train, with every field, its default and what it means")
    .argument("[file]", "where to; a file that is there is left as it is", "stepcredit.yaml")
    .addOption(setOption())
    .addOption(jsonOption())
    .action((path: string, options: InitOptions) => withConfig(() => writeInitial(path, options)));
}

async function writeInitial(path: string, options: InitOptions): Promise<void> {
  const { writeRun } = await import("../run/config.ts");
  // Something to fill in: a policy and problems are the first things to change.
  const config = await resolveWith({ policy: "model", problems: "problems.jsonl" }, options.set ?? [], "init");
  const json = options.json === undefined ? undefined : await openOutput(options.json);
  try {
    const file = await open(path, "wx");
    await file.writeFile(writeRun(config, true));
    await file.close();
  } catch (error) {
    throw new UsageError(`cannot write ${path}: ${systemReason(error)}`, { cause: error });
  }
  console.log(`${path}: name your policy and problems in it, then: npx stepcredit train ${path}`);
  if (json !== undefined) await writeJson(json, config);
}
