/** The command line as a whole: what its commands have in common. */

import { Command, CommanderError } from "commander";
import { buildCommand } from "./build.ts";
import { compareCommand } from "./compare.ts";
import { creditCommand } from "./credit.ts";
import { demoCommand } from "./demo.ts";
import { doctorCommand } from "./doctor.ts";
import { errorLine, exitCodeOf } from "./errors.ts";
import { evalCommand } from "./eval.ts";
import { goldenCommand } from "./golden.ts";
import { initCommand } from "./init.ts";
import { reportCommand } from "./report.ts";
import { serveCommand } from "./serve.ts";
import { trainCommand } from "./train.ts";
import { verifyCommand } from "./verify.ts";
import { packageVersion } from "./version.ts";

/** A command's module is imported here, for `--help`; what its action needs it imports itself, when it runs. */
const commands: readonly (() => Command)[] = [
  demoCommand,
  initCommand,
  trainCommand,
  evalCommand,
  compareCommand,
  reportCommand,
  serveCommand,
  creditCommand,
  verifyCommand,
  goldenCommand,
  doctorCommand,
  buildCommand,
];

export function createProgram(): Command {
  const program = new Command("stepcredit")
    .description("outcomes of multi-step solutions to credit per step, and policies trained with it")
    .version(packageVersion())
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(`${errorLine(text)}\n`) });
  for (const create of commands) program.addCommand(create().copyInheritedSettings(program));
  return program;
}

/**
 * Runs one command line and gives its exit code: 0 fine, 1 failed, 2 bad usage. Errors are one line on stderr; with
 * `STEPCREDIT_DEBUG=1` their stack follows.
 */
export async function runCommandLine(args: readonly string[]): Promise<number> {
  const program = createProgram();
  try {
    await program.parseAsync([...args], { from: "user" });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    // Commander has already said what is wrong with the usage.
    if (!(error instanceof CommanderError)) process.stderr.write(`${errorLine(error)}\n`);
    if (process.env["STEPCREDIT_DEBUG"] === "1" && error instanceof Error && exitCodeOf(error) !== 0) {
      process.stderr.write(`${error.stack ?? ""}\n`);
    }
    return exitCodeOf(error);
  }
}
