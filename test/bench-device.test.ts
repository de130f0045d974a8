import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { torchVersion } from "../bench/peers/python.ts";
import { python } from "./support/python.ts";
import { hostPlugin } from "./support/cuda.ts";

const torch = torchVersion();

const bench = (...args: string[]): { status: number | null; stdout: string; stderr: string } =>
  spawnSync(python, ["bench/device/bench.py", "--plugin", hostPlugin(), ...args], { encoding: "utf8" });

/** What a program prints, line by line, that imports the modules of the benches. */
function inPython(program: string): string[] {
  const { stdout, stderr } = spawnSync(python, ["-"], {
    input: program,
    encoding: "utf8",
    env: { ...process.env, PYTHONPATH: "bench/device", PYTHONDONTWRITEBYTECODE: "1" },
  });
  expect(stderr).toBe("");
  return stdout.trim().split("\n");
}

interface Row {
  readonly op: string;
  readonly dtype: string;
  readonly peers: Readonly<Record<string, { readonly ratio: number }>>;
  readonly skipped: Readonly<Record<string, string>>;
  readonly env: { readonly rehearsal?: boolean };
}

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
        "linear",
        "linearBackward",
        "linearLogprobs",
        "linearLogprobs.products",
        "linearLogprobs.tiles",
        "linearLogprobsBackward",
        "linearLogprobsBackward.products",
        "linearLogprobsBackward.tiles",
      ]),
    );
    expect(status).toBe(0);
  });

  it("take turns with the peers of each op in a rehearsal, and leave a record", () => {
    const folder = mkdtempSync(join(tmpdir(), "stepcredit-bench-device-"));
    try {
      const json = join(folder, "record.json");
      const only = ["logprobs", "linear_logprobs_backward", "adamw", "tree_attention_backward"];
      const { status, stdout, stderr } = bench("--rehearse", "--json", json, "--only", ...only);
      expect(stderr).toBe("");
      expect(stdout).toContain("a rehearsal: the figures mean nothing");
      const rows = JSON.parse(readFileSync(json, "utf8")) as Row[];
      expect(rows.every(({ env, skipped }) => env.rehearsal && Object.keys(skipped).length === 0)).toBe(true);
      const peersOf = (op: string): string[][] =>
        rows.filter((row) => row.op === op).map(({ dtype, peers }) => [dtype, ...Object.keys(peers)]);
      expect(peersOf("logprobs")).toHaveLength(4);
      for (const [dtype, ...peers] of [...peersOf("logprobs"), ...peersOf("linearLogprobsBackward")]) {
        expect(["f32", "bf16"]).toContain(dtype);
        expect(peers).toContain("torch eager");
        expect(peers.some((peer) => ["TRL's formula", "Liger's formula"].includes(peer))).toBe(true);
      }
      expect(peersOf("adamw")).toEqual([["f32", "torch foreach"]]);
      expect(peersOf("treeAttentionBackward")[0]?.slice(0, 2)).toEqual(["f32", "torch eager"]);
      expect(status).toBe(0);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("name a peer that has no memory or cannot run, and one whose result is another", () => {
    const lines = inPython(`
import torch, agreement
def full(): raise torch.cuda.OutOfMemoryError("no memory")
def broken(): raise TypeError("no such kernel\\nand more")
print(agreement.first_call(full, lambda: None))
print(agreement.first_call(broken, lambda: None))
found, truth = {"x": torch.tensor([3.0, 4.5])}, {"x": torch.tensor([3.0, 4.0]), "y": torch.ones(1)}
print(agreement.disagreements(found, truth, 0.2), agreement.disagreements(found, truth, 0.05))
print(agreement.disagreements({"n": torch.tensor([1, 2])}, {"n": torch.tensor([1, 3])}, 0.9))
`);
    expect(lines).toEqual([
      "(None, 'out of memory')",
      "(None, 'TypeError: no such kernel')",
      "[] ['x: off by 0.1']", // 0.5 of a norm of 5
      "['n: off by inf']",
    ]);
  });

  it("cut rows into chunks, and logits into sequences, without a change of the result", () => {
    const lines = inPython(`
import torch, peers
rows = 2 * peers.SEQUENCE + 3
logits, targets = torch.randn(rows, 5), torch.randint(0, 5, (rows,), dtype=torch.int32)
whole = peers.gathered(torch.log_softmax(logits, dim=-1), targets)
print(len(logits.split(peers.SEQUENCE)), torch.allclose(peers.selective_logprobs(logits, targets), whole, atol=1e-6))
print([(rows.start, rows.stop) for rows in peers.chunks(11, 13, 4)])
`);
    // V / H = 13 / 4 is 4 chunks of 3 rows, of 4 as a power of two.
    expect(lines).toEqual(["3 True", "[(0, 4), (4, 8), (8, 11)]"]);
  });

  it("time nothing where there is no device", () => {
    const { status, stderr } = bench();
    expect(status).toBe(2);
    expect(stderr).toContain("a plug-in compiled for the host can only be checked or rehearsed: --check, --rehearse");
  });
});
