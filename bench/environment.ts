/** What a record must say about where it was made. */

import { execFileSync } from "node:child_process";
import { cpus } from "node:os";
import { blas, openOps } from "../src/ops/native.ts";
import type { BenchEnvironment } from "../test/support/timing.ts";
import { torchVersion } from "./peers/torch.ts";

export function environment(peers: boolean, args: readonly string[]): BenchEnvironment {
  const { name, enabled } = blas();
  const torch = peers ? torchVersion() : undefined;
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    isa: openOps("cpu").name,
    blas: enabled ? name : null,
    node: process.versions.node,
    commit: commit(),
    date: new Date().toISOString(),
    command: ["npm run bench", ...(args.length > 0 ? ["--", ...args] : [])].join(" "),
    peers: { ...(torch !== undefined && { torch }) },
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
