/** The head of half types on tensor cores: fragments and their products are emulated lane by lane. */

import { describe, expect, it } from "vitest";
import { bitsOf } from "../../src/ops/halves.ts";
import { openOps } from "../../src/ops/native.ts";
import type { NativeOps } from "../../src/ops/native.ts";
import type { Typed } from "../../src/ops/ops.ts";
import { expectAgreement } from "../support/agreement.ts";
import { headRows, type HeadRows } from "../support/cases/linear-logprobs.ts";
import { bits } from "../support/close.ts";
import { runsOnHost } from "../support/cuda.ts";
import { forgetAfterEach, onHostDevice } from "../support/host-device.ts";

type Half = "bf16" | "f16";

const free = () => undefined;
const most = Array.from({ length: 200 }, (_, t) => (t % 3 === 2 ? 0 : 1));

/** Around a product of 16 terms, a slice of 32, a tile of 128 × 128 and a group of 2048 columns. */
const heads: readonly HeadRows[] = [
  headRows("one product", [16, 8], { bias: free }),
  headRows("one logit", [16, 1]),
  headRows("terms beyond a slice, a column beyond a tile", [48, 129], { bias: free }),
  headRows("many slices", [272, 33], { bias: free }),
  headRows("rows beyond a tile", [32, 70], { counts: most }),
  headRows("targets in two groups, equal ones, several in one tile", [32, 2100], {
    counts: [1, 0, 5, 1],
    bias: free,
    edit: (targets) => targets.set([2047, 2048, 2099, 2099, 3, 4, 2050]),
  }),
  headRows("all of temperature, scale and softcap", [32, 300], {
    bias: free,
    temperature: Float32Array.of(0.5, 1, 0.7, 2),
    logitScale: 1.7,
    softcap: 3,
  }),
  headRows("a softcap beyond the last column", [16, 130], { softcap: 5 }),
  headRows("wide logits", [64, 300], { spread: 30 }),
  headRows("an ignored id", [16, 100], { ignoreIndex: 3, edit: (targets) => targets.set([3, 5, 3]) }),
  headRows("a masked first tile", [16, 200], { counts: [1, 1], bias: (bias) => bias.fill(-Infinity, 0, 150) }),
  headRows("a masked target", [16, 50], {
    counts: [1, 2],
    bias: (bias) => (bias[7] = -Infinity),
    edit: (targets) => (targets[0] = 7),
  }),
  headRows("wholly masked rows", [16, 21], { bias: (bias) => bias.fill(-Infinity) }),
  headRows("a confident target", [16, 160], {
    counts: [1],
    bias: (bias) => (bias[141] = 16),
    edit: (targets) => targets.fill(141),
  }),
];

function inHalves(dtype: Half, head: HeadRows) {
  const typed = (values: Float32Array): Typed => ({ dtype, data: bitsOf(dtype, values) });
  return { ...head, hidden: typed(head.hidden), weight: typed(head.weight) };
}

describe.skipIf(!runsOnHost)("linearLogprobs in device code on tensor cores", () => {
  let ops: NativeOps;
  onHostDevice(() => (ops = openOps("cuda")));
  forgetAfterEach("STEPCREDIT_CUDA_HEAD", "STEPCREDIT_SIMT_SHARED");

  for (const dtype of ["bf16", "f16"] as const) {
    it.each(heads)(`agrees with the reference in ${dtype}: $name`, (head) => {
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
    const args = inHalves("bf16", heads[2]);
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
