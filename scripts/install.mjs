// npm install: a prebuilt addon where there is one, else node-gyp. Configured by environment variables, because npm refuses
// unknown flags: STEPCREDIT_BUILD=source ignores prebuilds; STEPCREDIT_BLAS=off builds without BLAS;
// STEPCREDIT_SANITIZE=address,undefined builds for a sanitizer.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const prebuilt = join(root, "prebuilds", `${process.platform}-${process.arch}`, "stepcredit.node");

if (existsSync(prebuilt) && process.env.STEPCREDIT_BUILD !== "source") {
  console.log(`stepcredit: using the prebuilt addon ${prebuilt}`);
  process.exit(0);
}

// Node's own headers, where they lie beside the executable and are of the same version: then nothing is downloaded.
function headers() {
  const prefix = join(dirname(process.execPath), "..");
  const file = join(prefix, "include", "node", "node_version.h");
  if (!existsSync(file)) return [];
  const text = readFileSync(file, "utf8");
  const number = (name) => text.match(new RegExp(`#define NODE_${name}_VERSION (\\d+)`))?.[1];
  const version = ["MAJOR", "MINOR", "PATCH"].map(number).join(".");
  return version === process.versions.node ? [`--nodedir=${prefix}`] : [];
}

const nodeGyp = createRequire(import.meta.url).resolve("node-gyp/bin/node-gyp.js");
const jobs = process.env.JOBS ?? "max";
const result = spawnSync(process.execPath, [nodeGyp, "rebuild", `--jobs=${jobs}`, "--loglevel=warn", ...headers()], {
  cwd: root,
  stdio: "inherit",
});
if (result.status !== 0) {
  console.error(
    "stepcredit: the native addon could not be built. It needs python3, make and a C++17 compiler (g++ or clang++).",
  );
  process.exit(1);
}
