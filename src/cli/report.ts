/** `stepcredit report RUN...`: the HTML report of one run, or of several side by side. */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { Command } from "commander";

import { systemReason, UsageError } from "./errors.ts";
import { jsonOption } from "./options.ts";
import { openOutput, writeJson } from "./output.ts";
import { withConfig } from "./run-config.ts";

interface ReportOptions {
  readonly out?: string;
  readonly json?: string;
}

export function reportCommand(): Command {
  return new Command("report")
    .description("write the curves of runs of train as one HTML file")
    .argument("<runs...>", "directories of runs")
    .option("--out <file>", "where to (default: report.html in the first run's directory)")
    .addOption(jsonOption())
    .action((directories: string[], options: ReportOptions) => withConfig(() => report(directories, options)));
}

async function report(directories: readonly string[], options: ReportOptions): Promise<void> {
  const { readRunSummary, runReport } = await import("../report/run.ts");
  const runs = await Promise.all(directories.map(readRunSummary));
  const json = options.json === undefined ? undefined : await openOutput(options.json);
  const path = options.out ?? join(directories[0], "report.html");
  try {
    await writeFile(path, runReport(runs, runs.map(({ name }) => name).join(", ")));
  } catch (error) {
    throw new UsageError(`cannot write ${path}: ${systemReason(error)}`, { cause: error });
  }
  if (json !== undefined) await writeJson(json, runs);
  console.log(path);
}
