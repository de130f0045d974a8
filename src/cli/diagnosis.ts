/** What this installation can use on this machine. */

import { existsSync } from "node:fs";
import { cpus } from "node:os";
import { addonPaths, loadAddon } from "../ops/addon.ts";
import { cudaReport, type CudaReport } from "../ops/cuda.ts";
import { blas, cpuIsas, numThreads, openOps } from "../ops/native.ts";
import { packageVersion } from "./version.ts";

export interface Diagnosis {
  readonly version: string;
  readonly platform: string;
  readonly arch: string;
  readonly node: string;
  /** version of the Node-API */
  readonly napi: string;
  readonly cpu: { readonly model: string; readonly cores: number };
  readonly addon: {
    readonly works: boolean;
    /** what was loaded; null: none */
    readonly path: string | null;
    readonly lookedFor: readonly string[];
    /** why it does not work, and what to do about it; null: it works */
    readonly problem: string | null;
  };
  readonly isa: {
    /** what a build for this architecture holds, the best first */
    readonly built: readonly string[];
    /** what this processor runs of it; empty where there is no addon */
    readonly usable: readonly string[];
    readonly chosen: string | null;
  };
  /** null: no addon */
  readonly threads: number | null;
  readonly blas: {
    /** compiled in; null: none */
    readonly name: string | null;
    readonly used: boolean;
    /** why it is not used; null: it is */
    readonly why: string | null;
  };
  /** null: no addon, which loads the plug-in */
  readonly cuda: CudaReport | null;
  /** the variables that are read and their values, without those that are secret; null: not set */
  readonly environment: Readonly<Record<string, string | null>>;
  /** variables that begin like ours and that nothing reads */
  readonly unknownEnvironment: readonly string[];
}

/** The Node-API version that the addon is built for, as in binding.gyp. */
export const napiNeeded = 9;

/** The targets of binding.gyp. */
const builtIsas: Readonly<Record<string, readonly string[]>> = {
  x64: ["avx512", "avx2", "generic"],
  arm64: ["neon", "generic"],
};

/** The variables that are read, and what they do. */
export const environmentVariables: Readonly<Record<string, string>> = {
  STEPCREDIT_ISA: "instruction set of the ops, instead of the best",
  STEPCREDIT_NUM_THREADS: "threads of an op, instead of the usable cores",
  STEPCREDIT_BLAS: "off: portable matrix products; when building: leave BLAS out",
  STEPCREDIT_CUDA: "off: no CUDA; when building: auto, on or off",
  STEPCREDIT_CUDA_ARCHS: "when building: what the CUDA plug-in is compiled for, such as 80;90a",
  STEPCREDIT_CUDA_HEAD: "products or tiles: how linearLogprobs of half types is made on CUDA",
  STEPCREDIT_CUDA_PLUGIN: "the CUDA plug-in, instead of the one that was built",
  STEPCREDIT_DEBUG: "1: errors with their stack",
  STEPCREDIT_BUILD: "when installing: source ignores a prebuilt addon",
  STEPCREDIT_SANITIZE: "when building: for a sanitizer",
  STEPCREDIT_SERVE_KEY: "what `serve` asks for as a bearer token, instead of --key",
  NO_COLOR: "plain output",
};

/** Of these only that they are set is told. */
const secrets: ReadonlySet<string> = new Set(["STEPCREDIT_SERVE_KEY"]);

/** Variables that benches, checks and tests of a clone read, and the device code that runs on the host for tests. */
export const ofClones = /^STEPCREDIT_(?:PYTHON|LINT_NATIVE|STORIES|SIMT_\w+)$/;

export function diagnose(env: NodeJS.ProcessEnv = process.env): Diagnosis {
  const failure = loadFailure();
  const loaded = failure === null;
  const processors = cpus();
  const usable = loaded ? cpuIsas() : [];
  const { name, enabled } = loaded ? blas() : { name: null, enabled: false };
  const problem = failure ?? opsFailure();
  return {
    version: packageVersion(),
    platform: process.platform,
    arch: process.arch,
    node: process.versions.node,
    napi: process.versions["napi"] ?? "none",
    cpu: { model: processors[0]?.model.trim() ?? "unknown", cores: processors.length },
    addon: {
      works: problem === null,
      path: loaded ? (addonPaths.find((path) => existsSync(path)) ?? null) : null,
      lookedFor: addonPaths,
      problem,
    },
    isa: { built: builtIsas[process.arch] ?? ["generic"], usable, chosen: chosenIsa(usable, env) },
    threads: loaded ? numThreads() : null,
    blas: { name, used: enabled, why: whyNoBlas(loaded, name, enabled) },
    cuda: loaded ? cudaReport() : null,
    environment: Object.fromEntries(
      Object.keys(environmentVariables).map((variable) => [variable, shown(variable, env[variable])]),
    ),
    unknownEnvironment: Object.keys(env).filter(
      (key) => key.startsWith("STEPCREDIT_") && !(key in environmentVariables) && !ofClones.test(key),
    ),
  };
}

function shown(variable: string, value: string | undefined): string | null {
  if (value === undefined) return null;
  return secrets.has(variable) ? "(not shown)" : value;
}

function loadFailure(): string | null {
  try {
    loadAddon();
    return null;
  } catch (error) {
    return messageOf(error);
  }
}

/** Runs one op whose result is known: two equal logits give each log ½. */
function opsFailure(): string | null {
  try {
    const { logprobs } = openOps("cpu").logprobs({
      logits: Float32Array.of(3, 3),
      targetOffsets: Int32Array.of(0, 1),
      targets: Int32Array.of(1),
    });
    if (Math.abs(logprobs[0] + Math.LN2) < 1e-6) return null;
    return `the ops give wrong numbers: log ½ is ${logprobs[0]}. Build them again: \`npx stepcredit build\`.`;
  } catch (error) {
    const isa = process.env["STEPCREDIT_ISA"];
    return messageOf(error) + (isa === undefined ? "" : `. STEPCREDIT_ISA is ${isa}: unset it or name a usable one.`);
  }
}

function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replace(/^stepcredit: /, "");
}

function chosenIsa(usable: readonly string[], env: NodeJS.ProcessEnv): string | null {
  const wanted = env["STEPCREDIT_ISA"] ?? usable[0];
  return wanted !== undefined && usable.includes(wanted) ? wanted : null;
}

function whyNoBlas(loaded: boolean, name: string | null, enabled: boolean): string | null {
  if (enabled) return null;
  if (!loaded) return "there is no addon";
  if (name !== null) return "STEPCREDIT_BLAS=off";
  const remedy = "for OpenBLAS install pkg-config and libopenblas-dev, then `npx stepcredit build`";
  return `none was found when the addon was built; ${remedy}`;
}
