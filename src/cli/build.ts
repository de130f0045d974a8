/** `stepcredit build`: the native addon again, from its sources. */

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

import { Command } from "commander";

import { jsonOption } from "./options.ts";
import { openOutput, writeJson } from "./output.ts";

export function buildCommand(): Command {
  return new Command("build")
    .description("build the native addon from source, with the compiler and the BLAS that are here now")
    .addOption(jsonOption())
    .action(async ({ json }: { readonly json?: string }) => {
      const result = json === undefined ? undefined : await openOutput(json);
      const script = fileURLToPath(new URL("../../scripts/install.mjs", import.meta.url));
      const env = { ...process.env, STEPCREDIT_BUILD: "source" };
      const { status } = spawnSync(process.execPath, [script], { stdio: "inherit", env });
      if (result !== undefined) await writeJson(result, { built: status === 0 });
      process.exitCode = status === 0 ? 0 : 1;
    });
}
