// Formats the native sources, or with --check names those that are not formatted. Where clang-format is missing, the check
// fails, unless STEPCREDIT_LINT_NATIVE=off says that it is meant to be skipped.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const check = process.argv.includes("--check");
const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const sources = readdirSync(join(root, "native"), { recursive: true })
  .filter((file) => /\.(h|cpp|cuh|cu)$/.test(file))
  .map((file) => join("native", file))
  .sort();

const mode = check ? ["--dry-run", "--Werror"] : ["-i"];
const result = spawnSync("clang-format", [...mode, ...sources], { cwd: root, stdio: "inherit" });

if (result.error?.code === "ENOENT") {
  console.error(`clang-format not found: native sources not ${check ? "checked" : "formatted"}`);
  process.exitCode = check && process.env.STEPCREDIT_LINT_NATIVE === "off" ? 0 : 1;
} else if (result.error !== undefined) {
  throw result.error;
} else {
  process.exitCode = result.status ?? 1;
}
