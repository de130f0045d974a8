// npm install: a prebuilt addon where there is one, else node-gyp; then the CUDA plug-in where nvcc is found, which nothing
// needs. Configured by environment variables, because npm refuses unknown flags: STEPCREDIT_BUILD=source ignores prebuilds and
// builds the addon anew; STEPCREDIT_BLAS=off builds without BLAS; STEPCREDIT_SANITIZE=address,undefined builds for a sanitizer;
// STEPCREDIT_CUDA=auto|on|off and STEPCREDIT_CUDA_ARCHS="80;90a" say what scripts/build-cuda.mjs does.
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildCuda } from "./build-cuda.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const prebuilt = join(root, "prebuilds", `${process.platform}-${process.arch}`, "stepcredit.node");

if (existsSync(prebuilt) && process.env.STEPCREDIT_BUILD !== "source") {
  console.log(`stepcredit: using the prebuilt addon ${prebuilt}`);
  process.exit(process.env.STEPCREDIT_CUDA === "on" ? buildCuda() : 0);
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

// What the addon was made of. npm runs this script again for `npx stepcredit` in a clone and for every link to it; the same
// inputs need no second build.
function fingerprint() {
  const hash = createHash("sha256");
  const sources = readdirSync(join(root, "native"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => !file.startsWith(join(root, "native", "cuda")))
    .sort();
  for (const file of [join(root, "binding.gyp"), ...sources]) hash.update(readFileSync(file)).update("\0");
  const blas = ["kind", "cflags", "libs"].map((question) =>
    execFileSync(process.execPath, [join(root, "scripts", "find-blas.mjs"), question], { encoding: "utf8" }),
  );
  const settings = [process.platform, process.arch, process.version, process.env.STEPCREDIT_SANITIZE, process.env.CXX];
  return hash.update(JSON.stringify([blas, settings])).digest("hex");
}

const stamp = join(root, "build", "Release", "stepcredit.inputs");
const inputs = fingerprint();
const built = existsSync(join(root, "build", "Release", "stepcredit.node")) && existsSync(stamp);
if (built && readFileSync(stamp, "utf8") === inputs && process.env.STEPCREDIT_BUILD !== "source") {
  console.log("stepcredit: the addon is up to date");
  process.exit(buildCuda());
}

const nodeGyp = createRequire(import.meta.url).resolve("node-gyp/bin/node-gyp.js");
const jobs = process.env.JOBS ?? "max";
const result = spawnSync(process.execPath, [nodeGyp, "rebuild", `--jobs=${jobs}`, "--loglevel=warn", ...headers()], {
  cwd: root,
  stdio: "inherit",
});
if (result.status !== 0) {
  console.error(
    "stepcredit: the native addon could not be built. It needs python3, make and a C++17 compiler (on Debian: apt-get " +
      "install python3 make g++). With --ignore-scripts the package is installed without it: what computes nothing on " +
      "arrays, such as `stepcredit credit`, runs, and `npx stepcredit build` builds it later.",
  );
  process.exit(1);
}
writeFileSync(stamp, inputs);
process.exit(buildCuda());
