import { spawnSync } from "node:child_process";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openOps } from "../../src/ops/native.ts";
import { hostPlugin, runsOnHost } from "../support/cuda.ts";
import { forgetAfterEach } from "../support/host-device.ts";
import { repository } from "../support/imports.ts";
import { python } from "../support/python.ts";
import { install, node, type Installed } from "../support/installed.ts";

const onDevice =
  spawnSync(python, ["-c", "import torch; raise SystemExit(not torch.cuda.is_available())"]).status === 0;
const hasPython = spawnSync(python, ["--version"]).status === 0;

let installed: Installed;
const example = (file: string): string => join(installed.root, "examples", "pytorch-logits", file);
beforeAll(() => {
  installed = install();
  installed.linkAddon();
  cpSync(join(repository, "examples"), join(installed.root, "examples"), { recursive: true });
});
afterAll(() => installed.remove());
forgetAfterEach("STEPCREDIT_CUDA_PLUGIN");

const rows = { targetOffsets: [0, 1, 2, 3], targets: [3, 0, 1] };
const losses = { oldLogprobs: [-1, -2, -3], advantages: [1, -1, 2], weights: [1, 0.5, 0.25] };
const bounds = { epsLow: 0.2, epsHigh: 0.28 };

describe.skipIf(!runsOnHost)("the example with a trainer in PyTorch", () => {
  it("opens the memory of another process, and leaves the gradient of the logits in it", () => {
    process.env["STEPCREDIT_CUDA_PLUGIN"] = hostPlugin();
    const ops = openOps("cuda");
    const numbers = Float32Array.from({ length: 12 }, (_, i) => Math.cos(i));
    const whole = ops.memory.from([7, ...numbers, 7]);
    const { handle, release, ...place } = whole.subarray(1, 13).share();
    const logits = { handle: Buffer.from(handle).toString("base64"), ...place, shape: [3, 4] };
    const input = `${JSON.stringify({ logits, ...rows, ...losses, ...bounds })}\n`;
    const { status, stdout, stderr } = node([example("update.mjs")], { input });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    release();
    const here = ops.policyUpdate.clip({
      logits: numbers,
      targetOffsets: Int32Array.from(rows.targetOffsets),
      targets: Int32Array.from(rows.targets),
      oldLogprobs: Float32Array.from(losses.oldLogprobs),
      advantages: Float32Array.from(losses.advantages),
      weights: Float32Array.from(losses.weights),
      ...bounds,
    });
    expect(whole.download()).toEqual(Float32Array.of(7, ...(here.dlogits as Float32Array), 7));
    const { loss, clipFraction } = here.metrics;
    expect(JSON.parse(stdout)).toEqual({ loss, clipFraction });
    expect(node([example("update.mjs")])).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/^pytorch-logits: usage: .*\n$/) as string,
    });
  });

  it("says in one line that it needs a device where there is none, and does not succeed", () => {
    const off = node([example("update.mjs")], { env: { STEPCREDIT_CUDA: "off" } });
    expect(off).toEqual({
      status: 77,
      stdout: "",
      stderr: "pytorch-logits: needs a CUDA device; CUDA is off: STEPCREDIT_CUDA is off\n",
    });
  });

  it.skipIf(!hasPython || onDevice)("says so in Python too (where Python is, and no device)", () => {
    const { status, stdout, stderr } = spawnSync(python, [example("train.py")], { encoding: "utf8" });
    expect({ status, stdout }).toEqual({ status: 77, stdout: "" });
    expect(stderr).toMatch(/^pytorch-logits: needs PyTorch with a CUDA device; .*\n$/);
  });

  it.skipIf(!onDevice)("agrees with autograd (where PyTorch has a device)", () => {
    const { status, stdout } = spawnSync(python, [example("train.py")], { encoding: "utf8" });
    expect([0, 77]).toContain(status); // 77: no plug-in was built
    if (status === 0) expect(stdout).toContain("largest difference from autograd");
  });
});
