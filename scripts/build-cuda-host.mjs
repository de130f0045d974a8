// Compiles the CUDA backend for the host: device code whose threads are fibers, for tests on machines without a device. Prints
// where the plug-in lies. Sources that did not change are not compiled again; several processes may ask at once.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, dirname, extname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const native = join(root, "native");
const out = join(root, "build-cuda", "host");
const plugin = join(out, "stepcredit_cuda_host.so");
const compiler = process.env.CXX ?? "g++";
// An address that a device could not read from ends the process: host/simt.cpp has what is called then.
const strict = ["-fsanitize=alignment", "-fno-sanitize-recover=alignment"];
const flags = ["-std=c++17", "-O1", "-g1", "-Wall", "-Wextra", "-fPIC", "-fvisibility=hidden", "-pthread", ...strict];

const filesIn = (folder, ...endings) =>
  readdirSync(join(native, folder))
    .filter((name) => endings.includes(extname(name)))
    .map((name) => join(native, folder, name))
    .sort();

const sources = [...filesIn("cuda", ".cu"), ...filesIn("cuda/host", ".cpp")];
const headers = [
  ...filesIn(".", ".h"),
  ...filesIn("cpu", ".h"),
  ...filesIn("cuda", ".cuh", ".h"),
  ...filesIn("cuda/host", ".h"),
];

const hash = (...parts) =>
  parts.reduce((sum, part) => sum.update(part).update("\0"), createHash("sha256")).digest("hex");
const ofHeaders = hash(compiler, ...flags, ...headers.map((file) => readFileSync(file)));

async function run(...args) {
  const child = spawn(compiler, args, { stdio: ["ignore", "inherit", "inherit"] });
  const code = await new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
  if (code !== 0) throw new Error(`${compiler} ${args.join(" ")}: exit status ${code}`);
}

/** The object file of a source, whose name tells what it was made of. */
async function compiled(source) {
  const name = basename(source).replace(/\.[a-z]+$/, "");
  const object = join(out, `${name}-${hash(ofHeaders, readFileSync(source)).slice(0, 16)}.o`);
  if (existsSync(object)) return object;
  const partial = `${object}.${process.pid}`;
  await run(...flags, "-x", "c++", "-I", join(native, "cuda", "host"), "-c", source, "-o", partial);
  renameSync(partial, object);
  return object;
}

async function build() {
  const jobs = Number(process.env.JOBS) || availableParallelism();
  const objects = [];
  const waiting = sources.map((source, index) => ({ source, index }));
  const worker = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift())
      objects[next.index] = await compiled(next.source);
  };
  await Promise.all(Array.from({ length: jobs }, worker));
  const inputs = join(out, "plugin.inputs");
  const linked = objects.join("\n");
  if (existsSync(plugin) && existsSync(inputs) && readFileSync(inputs, "utf8") === linked) return;
  const partial = `${plugin}.${process.pid}`;
  const exports = `-Wl,--version-script=${join(native, "cuda", "exports.map")}`;
  await run("-shared", "-pthread", exports, ...objects, "-o", partial);
  renameSync(partial, plugin);
  writeFileSync(inputs, linked);
  for (const file of readdirSync(out))
    if (file.endsWith(".o") && !objects.includes(join(out, file))) rmSync(join(out, file), { force: true });
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Runs `body` while no other process does. */
async function alone(body) {
  const lock = join(out, "lock");
  for (;;) {
    try {
      writeFileSync(lock, String(process.pid), { flag: "wx" });
      break;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
      const holder = existsSync(lock) ? Number(readFileSync(lock, "utf8")) : 0;
      if (holder > 0 && !isAlive(holder)) rmSync(lock, { force: true });
      await sleep(100);
    }
  }
  try {
    await body();
  } finally {
    rmSync(lock, { force: true });
  }
}

mkdirSync(out, { recursive: true });
await alone(build);
console.log(plugin);
