import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { torchVersion } from "../bench/peers/python.ts";
import { python } from "./support/python.ts";
import { hostPlugin } from "./support/cuda.ts";

const torch = torchVersion();

const bench = (...args: string[]): { status: number | null; stdout: string; stderr: string } =>
  spawnSync(python, ["bench/device/bench.py", "--plugin", hostPlugin(), ...args], { encoding: "utf8" });

describe.skipIf(torch === undefined)("the benches of a device (skipped without PyTorch)", () => {
  it("check every op that they time against float64, through the C ABI", () => {
    const { status, stdout, stderr } = bench("--check");
    const lines = stdout.trim().split("\n").slice(1);
    expect(stderr).toBe("");
    expect(lines.filter((line) => !line.endsWith(": agrees"))).toEqual([]);
    expect(new Set(lines.map((line) => line.split(" ")[0]))).toEqual(
      new Set([
        "logprobs",
        "logprobsBackward",
        "policyUpdate.clip",
        "sample.greedy",
        "sample.topP",
        "scatterAdvantages",
        "scatterAdvantagesBackward",
        "adamw",
        "treeAttention",
        "treeAttentionBackward",
        "decodeAttention",
        "linearLogprobs",
        "linearLogprobs.products",
        "linearLogprobs.tiles",
        "linearLogprobsBackward",
      ]),
    );
    expect(status).toBe(0);
  });

  it("time nothing where there is no device", () => {
    const { status, stderr } = bench();
    expect(status).toBe(2);
    expect(stderr).toContain("a plug-in compiled for the host can only be checked: --check");
  });
});
