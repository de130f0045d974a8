// Builds the CUDA plug-in by CMake where nvcc is found: build-cuda/Release/stepcredit_cuda.so. Part of scripts/install.mjs.
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const out = join(root, "build-cuda");
const plugin = join(out, "Release", "stepcredit_cuda.so");
const stamp = join(out, "Release", "stepcredit_cuda.inputs");
const log = join(out, "build.log");

/** Why there can be no plug-in. */
class Missing extends Error {}

function onPath(program) {
  const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  return folders.map((folder) => join(folder, program)).find((file) => existsSync(file));
}

/** nvcc: CUDACXX, CUDA_PATH, CUDA_HOME, the usual prefix, PATH. Throws where a variable names none. */
export function findNvcc() {
  const { CUDACXX, CUDA_PATH, CUDA_HOME } = process.env;
  const named = [
    ["CUDACXX", CUDACXX],
    ["CUDA_PATH", CUDA_PATH && join(CUDA_PATH, "bin", "nvcc")],
    ["CUDA_HOME", CUDA_HOME && join(CUDA_HOME, "bin", "nvcc")],
  ].find(([, value]) => value);
  if (named !== undefined) {
    const [variable, value] = named;
    const file = value.includes("/") ? value : onPath(value);
    if (file === undefined || !existsSync(file))
      throw new Missing(`${variable} says that nvcc is ${value}, which is not there`);
    return file;
  }
  const usual = "/usr/local/cuda/bin/nvcc";
  const file = existsSync(usual) ? usual : onPath("nvcc");
  if (file === undefined) {
    throw new Missing("nvcc was not found (looked at CUDACXX, CUDA_PATH, CUDA_HOME, /usr/local/cuda and PATH)");
  }
  return file;
}

/** That of the devices here, else PTX for sm_80 and later, which the driver compiles. */
function ownArchitectures() {
  return spawnSync("nvidia-smi", ["-L"], { stdio: "ignore" }).status === 0 ? "native" : "80-virtual";
}

/**
 * Whether what a plug-in was made of is what is wanted. One that was asked to be for some architectures stays while nobody asks
 * for others: npm runs the installation again for `npx stepcredit` in a clone, where the variable may not be set.
 */
export function isCurrent(made, wanted) {
  if (made?.inputs !== wanted.inputs) return false;
  return made.archs === wanted.archs || (made.asked && !wanted.asked);
}

function readStamp() {
  try {
    return existsSync(plugin) ? JSON.parse(readFileSync(stamp, "utf8")) : undefined;
  } catch {
    return undefined;
  }
}

function filesBelow(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(root, folder, entry.name))
    .sort();
}

function fingerprint(...settings) {
  const hash = createHash("sha256");
  const headers = [...filesBelow("native"), ...filesBelow(join("native", "cpu"))].filter((file) => file.endsWith(".h"));
  for (const file of [...filesBelow(join("native", "cuda")), ...headers]) hash.update(readFileSync(file)).update("\0");
  return hash.update(JSON.stringify(settings)).digest("hex");
}

function compile(nvcc, archs) {
  const cmakeJs = createRequire(import.meta.url).resolve("cmake-js/bin/cmake-js");
  const jobs = process.env.JOBS && process.env.JOBS !== "max" ? process.env.JOBS : String(availableParallelism());
  mkdirSync(out, { recursive: true });
  // CMake keeps the compiler it was configured with.
  for (const file of ["CMakeCache.txt", "CMakeFiles"]) rmSync(join(out, file), { recursive: true, force: true });
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [
      ...[cmakeJs, "compile", "-d", join(root, "native", "cuda"), "-O", out, "-B", "Release"],
      ...[`--CDCMAKE_CUDA_ARCHITECTURES=${archs}`, `--CDCMAKE_CUDA_COMPILER=${nvcc}`],
    ],
    { encoding: "utf8", maxBuffer: 2 ** 28, env: { ...process.env, CMAKE_BUILD_PARALLEL_LEVEL: jobs } },
  );
  writeFileSync(log, `${stdout}${stderr}`);
  const remarks = `${stdout}${stderr}`
    .split("\n")
    .filter((line) => /\b(warning|error)\b/i.test(line) && !/^npm /.test(line));
  for (const line of remarks) console.error(line);
  if (status !== 0 || !existsSync(plugin)) {
    throw new Missing(`it could not be compiled: ${remarks[0]?.trim() ?? "CMake failed"} (all of it in ${log})`);
  }
}

function build() {
  if (process.platform !== "linux") throw new Missing(`it is built on Linux alone, and this is ${process.platform}`);
  const nvcc = findNvcc();
  if (onPath("cmake") === undefined) throw new Missing("CMake was not found");
  const given = process.env.STEPCREDIT_CUDA_ARCHS;
  const archs = given || ownArchitectures();
  const version = execFileSync(nvcc, ["--version"], { encoding: "utf8" });
  const wanted = { inputs: fingerprint(nvcc, version, process.env.CXX), archs, asked: Boolean(given) };
  if (isCurrent(readStamp(), wanted) && process.env.STEPCREDIT_BUILD !== "source") {
    console.log("stepcredit: the CUDA plug-in is up to date");
    return;
  }
  rmSync(stamp, { force: true });
  compile(nvcc, archs);
  writeFileSync(stamp, JSON.stringify(wanted));
  console.log(`stepcredit: built the CUDA plug-in for ${archs} with ${nvcc}`);
}

/**
 * Builds the plug-in as STEPCREDIT_CUDA says: off, not at all; auto, where it can be built, else one line says why not; on, and
 * what hinders it is a failure. Gives the exit status.
 */
export function buildCuda() {
  const wanted = process.env.STEPCREDIT_CUDA || "auto";
  if (!["auto", "on", "off"].includes(wanted)) {
    console.error(`stepcredit: expected STEPCREDIT_CUDA to be auto, on or off, received ${wanted}`);
    return 1;
  }
  if (wanted === "off") return 0;
  try {
    build();
    return 0;
  } catch (error) {
    const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
    if (wanted === "on") console.error(`stepcredit: no CUDA plug-in: ${reason}`);
    else console.log(`stepcredit: no CUDA plug-in, which nothing needs: ${reason}`);
    return wanted === "on" ? 1 : 0;
  }
}
