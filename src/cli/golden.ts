/** `stepcredit golden DIR`: the native ops and the float64 reference against golden vectors. */
import { writeFileSync } from "node:fs";
import { Command } from "commander";
import pc from "picocolors";
import { describeReport, reportToJson, runGoldenDirectory, type GoldenReport } from "../golden/report.ts";
import { reference } from "../ops/reference.ts";

/** Exits 0 if no vector failed, 1 if one did, 2 for a directory that cannot be read or holds no vector. */
export function goldenCommand(): Command {
  return new Command("golden")
    .description("run golden vectors on the native ops (float32) and on the reference (float64)")
    .argument("<dir>", "directory of golden vectors, one JSON file per case")
    .option("--json <file>", "write { passed, failed, unsupported, failures } to a file")
    .action(async (directory: string, options: { readonly json?: string }, command: Command) => {
      const { openOps } = await import("../ops/native.ts"); // here, so that --help works where the addon is missing
      const native = openOps("cpu");
      const report = readableReport(command, directory, () => runGoldenDirectory(directory, [native, reference()]));
      for (const line of describeReport(report)) console.log(line.startsWith("FAILED") ? pc.red(line) : line);
      if (options.json !== undefined) writeFileSync(options.json, reportToJson(report));
      process.exitCode = report.failed > 0 ? 1 : 0;
    });
}

function readableReport(command: Command, directory: string, run: () => GoldenReport): GoldenReport {
  let report: GoldenReport;
  try {
    report = run();
  } catch (error) {
    return command.error(`error: cannot read ${directory}: ${error instanceof Error ? error.message : String(error)}`, {
      exitCode: 2,
    });
  }
  const total = report.passed + report.failed + report.unsupported;
  if (total === 0) return command.error(`error: ${directory} holds no *.json`, { exitCode: 2 });
  return report;
}
