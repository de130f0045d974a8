/** `stepcredit build`: the native addon again, from its sources; the CUDA plug-in too where asked to. */

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

import { Command } from "commander";

import { jsonOption } from "./options.ts";
import { openOutput, writeJson } from "./output.ts";

export function buildCommand(): Command {
  return new Command("build")
    .description("build the native addon from source, with the compiler and the BLAS that are here now")
    .option("--cuda", "build the CUDA plug-in too, and fail where that cannot be done")
    .addOption(jsonOption())
    .action(async ({ json, cuda }: { readonly json?: string; readonly cuda?: boolean }) => {
      const result = json === undefined ? undefined : await openOutput(json);
      const script = fileURLToPath(new URL("../../scripts/install.mjs", import.meta.url));
      const env = { ...process.env, STEPCREDIT_BUILD: "source", ...(cuda === true && { STEPCREDIT_CUDA: "on" }) };
      const { status } = spawnSync(process.execPath, [script], { stdio: "inherit", env });
      if (result !== undefined) await writeJson(result, { built: status === 0 });
      process.exitCode = status === 0 ? 0 : 1;
    });
}
