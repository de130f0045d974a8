/** `stepcredit doctor`: what this installation can use on this machine, and why not where it cannot. */

import { Command } from "commander";
import { diagnose, environmentVariables, napiNeeded, type Diagnosis } from "./diagnosis.ts";
import { jsonOption } from "./options.ts";
import { openOutput, writeJson } from "./output.ts";

/** Exits 0 where the CPU ops work, 1 where they do not. */
export function doctorCommand(): Command {
  return new Command("doctor")
    .description("say what this installation can use on this machine, and why not where it cannot")
    .option("--brief", "one line: platform, instruction set, BLAS, threads")
    .addOption(jsonOption())
    .action(async (options: { readonly brief?: boolean; readonly json?: string }) => {
      const json = options.json === undefined ? undefined : await openOutput(options.json);
      const diagnosis = diagnose();
      const lines = options.brief === true ? [briefLine(diagnosis)] : describeDiagnosis(diagnosis);
      for (const line of lines) console.log(line);
      if (json !== undefined) await writeJson(json, diagnosis);
      process.exitCode = diagnosis.addon.works ? 0 : 1;
    });
}

/** `linux-x64, avx2, OpenBLAS, 2 threads`. */
export function briefLine({ platform, arch, isa, blas, threads, addon }: Diagnosis): string {
  if (!addon.works) return `${platform}-${arch}, no CPU ops: ${addon.problem}`;
  return `${platform}-${arch}, ${isa.chosen}, ${blas.used ? blas.name : "no BLAS"}, ${threads} thread${threads === 1 ? "" : "s"}`;
}

/** The lines a person reads. */
export function describeDiagnosis(diagnosis: Diagnosis): string[] {
  const { cpu, addon, isa, blas, cuda } = diagnosis;
  return [
    row("stepcredit", diagnosis.version),
    row("platform", `${diagnosis.platform}-${diagnosis.arch}`),
    row("Node.js", `${diagnosis.node}, Node-API ${diagnosis.napi} (${napiNeeded} needed)`),
    row("processor", `${cpu.model}, ${cpu.cores} core${cpu.cores === 1 ? "" : "s"}`),
    row("CPU ops", addon.works ? "work" : `do not work: ${addon.problem}`),
    row("addon", addon.path ?? "none"),
    row(
      "instructions",
      `${isa.chosen ?? "none"} (usable: ${list(isa.usable)}; a build for ${diagnosis.arch} holds: ${list(isa.built)})`,
    ),
    row("threads", diagnosis.threads === null ? "unknown without the addon" : String(diagnosis.threads)),
    row("BLAS", blas.used ? (blas.name ?? "") : `not used: ${blas.why}`),
    ...productLines(diagnosis),
    ...cudaLines(cuda),
    row("environment", ""),
    ...Object.entries(diagnosis.environment).map(([name, value]) =>
      more(`${name.padEnd(22)} ${value === null ? "not set" : `= ${value}`} (${environmentVariables[name]})`),
    ),
    ...diagnosis.unknownEnvironment.map((name) => more(`${name.padEnd(22)} is set and nothing reads it`)),
  ];
}

function productLines({ blas, addon }: Diagnosis): string[] {
  if (!addon.works) return [];
  if (!blas.used) return [more("all matrix products are portable ones, whose rows do not depend on the batch")];
  return [
    more("products with weights of at least 256 × 256 elements go to it, smaller ones to the portable product;"),
    more("rows of the portable product do not depend on the batch, of BLAS that is not guaranteed"),
  ];
}

function cudaLines(cuda: Diagnosis["cuda"]): string[] {
  if (cuda === null) return [row("CUDA", "unknown without the addon")];
  const { status, why, remedy, path, build, cublaslt, devices } = cuda;
  return [
    row("CUDA", why === "" ? status : `${status}: ${why}`),
    ...(remedy === "" ? [] : [more(`remedy: ${remedy}`)]),
    ...(build === "" ? [] : [more(`plug-in ${path} (${build})`)]),
    ...(cublaslt === null ? [] : [more(productsLine(cublaslt))]),
    ...devices.map(({ index, name, architecture, memoryBytes, multiprocessors }) =>
      more(
        `cuda/${index} ${name}: ${architecture}, ${multiprocessors} multiprocessors, ${(memoryBytes / 2 ** 30).toFixed(1)} GiB`,
      ),
    ),
  ];
}

function productsLine({ used, why }: NonNullable<NonNullable<Diagnosis["cuda"]>["cublaslt"]>): string {
  return used
    ? "products of matrices go to cuBLASLt"
    : `products of matrices take the plug-in's own kernel, cuBLASLt is not used: ${why}`;
}

const column = 14;

function row(name: string, text: string): string {
  return `${name.padEnd(column)}${text}`.trimEnd();
}

function more(text: string): string {
  return `${" ".repeat(column)}${text}`;
}

function list(names: readonly string[]): string {
  return names.length === 0 ? "none" : names.join(", ");
}
