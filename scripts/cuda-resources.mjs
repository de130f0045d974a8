// Compiles every kernel of native/cuda for some architectures, warnings being errors, and prints what each needs: registers,
// static shared memory, spills. Fails where one spills. `node scripts/cuda-resources.mjs [90a 120 …]`, default 80 90a 120.
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { findNvcc } from "./build-cuda.mjs";

const folder = join(dirname(fileURLToPath(import.meta.url)), "..", "native", "cuda");
const given = process.argv.slice(2);
const architectures = given.length > 0 ? given : ["80", "90a", "120"];
const sources = readdirSync(folder)
  .filter((file) => file.endsWith(".cu"))
  .sort();
const scratch = mkdtempSync(join(tmpdir(), "stepcredit-"));

async function output(program, args) {
  const child = spawn(program, args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  child.stdout.on("data", (chunk) => (text += chunk));
  child.stderr.on("data", (chunk) => (text += chunk));
  const status = await new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
  return { status, text };
}

/** The kernel's own name out of its mangled one: the last of the nested names, without what follows it. */
function plainName(mangled) {
  let name = mangled;
  let rest = mangled.replace(/^_ZN?/, "");
  for (let match = /^(\d+)/.exec(rest); match !== null; match = /^(\d+)/.exec(rest)) {
    const length = Number(match[1]);
    name = rest.slice(match[1].length, match[1].length + length);
    rest = rest.slice(match[1].length + length);
  }
  const template = /^I(.*?)EEv/.exec(rest);
  return template === null ? name : `${name}<${template[1]}>`;
}

/** What ptxas -v says of the kernels of one file. */
function kernelsOf(text) {
  return text
    .split("Compiling entry function '")
    .slice(1)
    .map((part) => {
      const number = (pattern) => Number(pattern.exec(part)?.[1] ?? 0);
      return {
        name: plainName(part.slice(0, part.indexOf("'"))),
        registers: number(/Used (\d+) registers/),
        shared: number(/(\d+) bytes smem/),
        stack: number(/(\d+) bytes stack frame/),
        spilled: number(/(\d+) bytes spill stores/) + number(/(\d+) bytes spill loads/),
      };
    });
}

const nvcc = findNvcc();
const jobs = architectures.flatMap((architecture) => sources.map((source) => ({ architecture, source })));
const results = new Map();
let failed = false;

async function work() {
  for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) {
    const { architecture, source } = job;
    const target = `arch=compute_${architecture},code=sm_${architecture}`;
    const flags = [
      "-std=c++17",
      "-O3",
      "-gencode",
      target,
      "-Xptxas=-v",
      "-Werror=all-warnings",
      "-Xcompiler=-Wall,-Wextra",
    ];
    const object = join(scratch, `${source}-${architecture}.o`);
    const { status, text } = await output(nvcc, [...flags, "-c", source, "-o", object]);
    if (status !== 0) {
      failed = true;
      console.error(`${source} for sm_${architecture}:\n${text}`);
    }
    results.set(`${architecture} ${source}`, kernelsOf(text));
  }
}

try {
  await Promise.all(Array.from({ length: Number(process.env.JOBS) || availableParallelism() }, work));
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
console.log(
  `${"kernel".padEnd(64)}${"registers".padStart(10)}${"shared".padStart(9)}${"stack".padStart(7)}${"spilled".padStart(9)}`,
);
for (const architecture of [...new Set([...results.keys()].map((key) => key.split(" ")[0]))].sort()) {
  for (const source of sources) {
    for (const kernel of results.get(`${architecture} ${source}`) ?? []) {
      const name = `sm_${architecture} ${source} ${kernel.name}`;
      const numbers = [kernel.registers, kernel.shared, kernel.stack, kernel.spilled];
      console.log(name.padEnd(64) + numbers.map((n, i) => String(n).padStart([10, 9, 7, 9][i])).join(""));
      if (kernel.spilled > 0) failed = true;
    }
  }
}
if (failed) console.error("a kernel spills registers into local memory, or was not compiled");
process.exitCode = failed ? 1 : 0;
