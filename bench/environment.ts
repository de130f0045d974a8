/** What a record must say about where it was made. */

import { execFileSync } from "node:child_process";
import { availableParallelism, cpus, release, totalmem, type } from "node:os";
import { blas, openOps } from "../src/ops/native.ts";
import type { BenchEnvironment } from "../test/support/timing.ts";
import { onnxVersion } from "./peers/onnx.ts";
import { openblasVersion, torchVersion } from "./peers/python.ts";

export async function environment(peers: boolean, args: readonly string[]): Promise<BenchEnvironment> {
  const { name, enabled } = blas();
  const versions = {
    openblas: openblasVersion(), // not a peer but a floor: wanted in any case
    torch: peers ? torchVersion() : undefined,
    onnxruntime: peers ? await onnxVersion() : undefined,
  };
  const found = Object.entries(versions).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
    isa: openOps("cpu").name,
    blas: enabled ? name : null,
    node: process.versions.node,
    commit: commit(),
    date: new Date().toISOString(),
    command: commandOf(args),
    peers: Object.fromEntries(found),
  };
}

function commit(): string {
  try {
    return execFileSync("git", ["describe", "--always", "--dirty", "--exclude=*"], { encoding: "utf8" }).trim();
  } catch (error) {
    if (error instanceof Error) return `unknown: ${error.message.split("\n")[0]}`;
    throw error;
  }
}

/** Without where the record went, which is nobody's business and changes nothing. */
export function commandOf(args: readonly string[]): string {
  const kept = args.filter((arg, i) => !/^--json(=|$)/.test(arg) && args[i - 1] !== "--json");
  return ["npm run bench", ...(kept.length > 0 ? ["--", ...kept] : [])].join(" ");
}
