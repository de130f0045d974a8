/** The head of half types on tensor cores: fragments and their products are emulated lane by lane. */

import { describe, expect, it } from "vitest";
import { openOps } from "../../src/ops/native.ts";
import type { NativeOps } from "../../src/ops/native.ts";
import { expectAgreement } from "../support/agreement.ts";
import { free, headRows } from "../support/cases/linear-logprobs.ts";
import { inHalves, most, tileHeads } from "../support/cases/tile-heads.ts";
import { bits } from "../support/close.ts";
import { runsOnHost } from "../support/cuda.ts";
import { forgetAfterEach, onHostDevice } from "../support/host-device.ts";

describe.skipIf(!runsOnHost)("linearLogprobs in device code on tensor cores", () => {
  let ops: NativeOps;
  onHostDevice(() => (ops = openOps("cuda")));
  forgetAfterEach("STEPCREDIT_CUDA_HEAD", "STEPCREDIT_SIMT_SHARED");

  for (const dtype of ["bf16", "f16"] as const) {
    it.each(tileHeads)(`agrees with the reference in ${dtype}: $name`, (head) => {
      const args = inHalves(dtype, head);
      const [T, N] = [head.targetOffsets.length - 1, head.targets.length];
      expectAgreement(ops, {
        op: "linearLogprobs",
        name: `${dtype}, ${head.name}`,
        run: (of, make) => ({
          ...of.linearLogprobs({ ...args, lse: make.filled(T), logprobs: make.filled(N), entropy: make.filled(T) }),
        }),
      });
    });
  }

  it("gives the same log-probs whether entropies are asked for or not", () => {
    const args = inHalves("bf16", tileHeads[2]);
    expect(bits(ops.linearLogprobs(args).logprobs as Float32Array)).toBe(
      bits(ops.linearLogprobs({ ...args, entropy: true }).logprobs as Float32Array),
    );
  });

  it("gives a row the bits that it has alone, wherever it lies in a tile", () => {
    const head = headRows("rows beyond a tile", [48, 300], { counts: most.map(() => 1), bias: free });
    const args = inHalves("bf16", head);
    const whole = ops.linearLogprobs({ ...args, entropy: true });
    for (const row of [0, 9, 70, 127, 128, 199]) {
      const data = args.hidden.data.slice(row * 48, (row + 1) * 48);
      const alone = ops.linearLogprobs({
        ...args,
        hidden: { dtype: "bf16", data },
        targetOffsets: Int32Array.of(0, 1),
        targets: head.targets.slice(row, row + 1),
        entropy: true,
      });
      for (const output of ["lse", "logprobs", "entropy"] as const)
        expect(bits(alone[output] as Float32Array), `${output} of row ${row}`).toBe(
          bits((whole[output] as Float32Array).slice(row, row + 1)),
        );
    }
  });

  it("is taken by heads of one half type whose width is a multiple of 16, unless products are asked for", () => {
    const run = (H: number, head: object = {}) =>
      ops.linearLogprobs({ ...inHalves("f16", headRows("a head", [H, 40])), ...head });
    const apart = headRows("a head", [32, 40]);
    process.env["STEPCREDIT_SIMT_SHARED"] = String(48 << 10); // too little for tiles
    expect(() => run(32)).toThrow(/linear_logprobs: launch/);
    expect(() => run(24)).not.toThrow();
    expect(() => run(32, { hidden: apart.hidden })).not.toThrow();
    process.env["STEPCREDIT_CUDA_HEAD"] = "products";
    expect(() => run(32)).not.toThrow();
  });
});
