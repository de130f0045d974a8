/** What a record must say about where it was made. */

import { execFileSync } from "node:child_process";
import { availableParallelism, cpus, release, totalmem, type } from "node:os";
import { blas, openOps } from "../src/ops/native.ts";
import type { BenchEnvironment } from "../test/support/timing.ts";
import { onnxVersion } from "./peers/onnx.ts";
import { openblasVersion, torchVersion } from "./peers/python.ts";

export async function environment(
  peers: boolean,
  args: readonly string[],
  note: string | undefined,
): Promise<BenchEnvironment> {
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
    ...(note !== undefined && { note }),
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

/** Without where the record went and its note, which change nothing. */
export function commandOf(args: readonly string[]): string {
  const isLeftOut = (arg: string | undefined): boolean => /^--(json|note|keep)(=|$)/.test(arg ?? "");
  const isValue = (i: number): boolean => i > 0 && isLeftOut(args[i - 1]) && !/^--keep|=/.test(args[i - 1]);
  const kept = args.filter((arg, i) => !isLeftOut(arg) && !isValue(i));
  return ["npm run bench", ...(kept.length > 0 ? ["--", ...kept] : [])].join(" ");
}
