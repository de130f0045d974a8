#!/usr/bin/env node
import { runCommandLine } from "./program.ts";

// Whoever reads has stopped reading, as `head` does: nothing is left to say, and that is no failure of the command.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit();
});

process.exitCode = await runCommandLine(process.argv.slice(2));
