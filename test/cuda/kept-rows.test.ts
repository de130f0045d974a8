/** The fused update keeps what it can of a row on the chip; how much that is shows in no bit of what it writes. */

import { afterAll, describe, expect, it } from "vitest";
import { runChild } from "../support/child.ts";
import { runsOnHost } from "../support/cuda.ts";
import { onHostDevice } from "../support/host-device.ts";
import { install, type Installed } from "../support/installed.ts";

const KiB = 1024;
/** Bytes of shared memory of a block: none beside what reductions take, part of a row, what devices have. */
const limits = [0, 3 * KiB, 24 * KiB, 99 * KiB, 163 * KiB, 227 * KiB];

/** Prints a digest of all that updates of rows of V logits write, with few and with many threads to a row. */
const digests = `
  const { createHash } = await import("node:crypto");
  const noise = (length, seed) => Float32Array.from({ length }, (_, i) => Math.sin(i * (12.9898 + seed)) * 43758.5453 % 4);
  const cuda = openOps("cuda");
  for (const V of [301, 5003, 65539]) {
    const T = 3;
    const floats = noise(T * V, 0);
    floats.fill(-Infinity, V, V + 200);
    const bits = Uint16Array.from(new Uint32Array(floats.buffer), (word) => word >>> 16);
    for (const logits of [() => floats.slice(), () => ({ dtype: "bf16", data: bits.slice() })]) {
      for (const more of [{}, { entropyWeights: noise(T, 1), softcap: 3 }, { keep: Uint8Array.from({ length: T * Math.ceil(V / 8) }, (_, i) => 37 * i | 1) }]) {
        const rows = logits();
        const { metrics, ...written } = cuda.policyUpdate.clip({
          logits: rows, dlogits: rows, targetOffsets: Int32Array.of(0, 1, 3, 4), targets: Int32Array.of(V - 1, 7, 290, 0),
          oldLogprobs: new Float32Array(4).fill(-4), advantages: noise(4, 2), weights: new Float32Array(4).fill(0.25),
          epsLow: 0.2, epsHigh: 0.3, entropy: true, ...more,
        });
        const hash = createHash("sha256").update(JSON.stringify(metrics));
        for (const array of Object.values(written)) hash.update(new Uint8Array((array.data ?? array).buffer));
        console.log(V, metrics.loss, hash.digest("hex"));
      }
    }
  }
`;

describe.skipIf(!runsOnHost)("policyUpdate in device code", () => {
  let installed: Installed;
  onHostDevice(() => {
    installed = install();
    installed.linkAddon();
  });
  afterAll(() => installed.remove());

  it("asks for the same memory of the chip for rows of any length, so that threads do not take it from each other", () => {
    const { status, stderr } = runChild(
      installed,
      `const cuda = openOps("cuda");
       for (const V of [300, 800, 5003, 20000, 70000, 90000])
         cuda.policyUpdate.clip({
           logits: new Float32Array(V), targetOffsets: Int32Array.of(0, 1), targets: Int32Array.of(7),
           oldLogprobs: Float32Array.of(-4), advantages: Float32Array.of(1), weights: Float32Array.of(1),
           epsLow: 0.2, epsHigh: 0.3, keep: new Uint8Array(Math.ceil(V / 8)).fill(255),
         });`,
    );
    expect([status, stderr]).toEqual([0, ""]);
  });

  it("writes the same bits however much of a row the chip can keep", () => {
    const [none, ...others] = limits.map((bytes) => {
      const environment = `process.env.STEPCREDIT_SIMT_SHARED = "${bytes}";`;
      const { status, stdout, stderr } = runChild(installed, `${environment}${digests}`);
      expect([status, stderr]).toEqual([0, ""]);
      return stdout.trim().split("\n");
    });
    expect(none).toHaveLength(18);
    expect(none.every((line) => Number.isFinite(Number(line.split(" ")[1])))).toBe(true);
    for (const lines of others) expect(lines).toEqual(none);
  }, 120_000);
});
