/** PyTorch of the system's Python, where there is one: the same work, eager, on the CPU, with as many threads. */

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

export interface TorchJob {
  /** a function of torch_ops.py */
  readonly subject: string;
  readonly shape: Readonly<Record<string, number>>;
  readonly threads: number;
}

const python = process.env["STEPCREDIT_PYTHON"] ?? "/usr/bin/python3";
const script = fileURLToPath(new URL("./torch_ops.py", import.meta.url));

/** Its version; undefined where it is not installed. */
export function torchVersion(): string | undefined {
  const { status, stdout } = spawnSync(python, ["-c", "import torch; print(torch.__version__)"], { encoding: "utf8" });
  return status === 0 ? stdout.trim() : undefined;
}

/** Milliseconds of every call. Throws where the script fails: a peer that is there is expected to work. */
export function torchSamples(job: TorchJob): readonly number[] {
  const { status, stdout, stderr } = spawnSync(python, [script, JSON.stringify(job)], { encoding: "utf8" });
  if (status !== 0) throw new Error(`torch_ops.py ${job.subject}: ${stderr.trim().split("\n").at(-1) ?? "no message"}`);
  return (JSON.parse(stdout) as { readonly samplesMs: readonly number[] }).samplesMs;
}
