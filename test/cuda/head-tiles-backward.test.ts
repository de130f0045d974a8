/** The gradient of a head of half types on tensor cores, whose products take gradients in f32. */

import { describe, expect, it } from "vitest";
import type { DeviceOps } from "../../src/ops/device-ops.ts";
import { openOps } from "../../src/ops/native.ts";
import { expectAgreement } from "../support/agreement.ts";
import { randomArrays } from "../support/arrays.ts";
import { free, headGradient, headRows, type HeadRows } from "../support/cases/linear-logprobs.ts";
import { inHalves, most, tileHeads } from "../support/cases/tile-heads.ts";
import { bits } from "../support/close.ts";
import { runsOnHost } from "../support/cuda.ts";
import { forgetAfterEach, onHostDevice } from "../support/host-device.ts";

/** Beside the heads of the forward: around a slab of 4096 columns, tiles of gradients and targets of several rows. */
const heads: readonly HeadRows[] = [
  ...tileHeads,
  headRows("a column beyond a slab", [16, 4097], { bias: free }),
  headRows("terms beyond a tile of gradients", [144, 131], { counts: [1, 1, 2] }),
  headRows("another target beside a confident one", [16, 60], {
    counts: [2],
    bias: (bias) => (bias[41] = 16),
    edit: (targets) => targets.set([41, 3]),
  }),
  headRows("an ignored id of the vocabulary", [16, 40], { ignoreIndex: 3, edit: (targets) => targets.fill(3, 1) }),
];

describe.skipIf(!runsOnHost)("linearLogprobsBackward in device code on tensor cores", () => {
  let ops: DeviceOps;
  onHostDevice(() => (ops = openOps("cuda")));
  forgetAfterEach("STEPCREDIT_CUDA_HEAD", "STEPCREDIT_SIMT_SHARED");

  /** The gradients of random log-probs and entropies, added to zeros. */
  function gradients(head: HeadRows, given: ReturnType<typeof inHalves>, wanted = { weight: true, bias: true }) {
    const saved = ops.linearLogprobs({ ...given, entropy: true });
    const draw = randomArrays(head.V);
    const upstream = {
      dlogprobs: draw.normals(head.targets.length),
      dentropy: draw.normals(head.targetOffsets.length - 1),
    };
    const out = {
      dhidden: new Float32Array(head.hidden.length).fill(NaN),
      ...(wanted.weight && { dweight: new Float32Array(head.weight.length) }),
      ...(wanted.bias && { dbias: new Float32Array(head.V) }),
    };
    ops.linearLogprobsBackward({ ...given, ...saved, entropy: saved.entropy!, ...upstream, ...out });
    return out;
  }

  /** A logit near 100 is rounded by up to 2⁻¹⁸, and its probability by as much of itself: 32 units of an f32. */
  const ulpsOf = (head: HeadRows) => (head.name === "wide logits" ? { ulps: 32 } : {});

  for (const dtype of ["bf16", "f16"] as const)
    for (const of of ["all", "entropy", "quiet"])
      it.each(heads)(`agrees with the reference in ${dtype}, ${of}: $name`, (head) =>
        expectAgreement(ops, { ...headGradient(head, of, inHalves(dtype, head)), ...ulpsOf(head) }),
      );

  it("gives dhidden the same bits whatever else is asked for", () => {
    const head = headRows("two slabs", [48, 4200], { bias: free });
    const given = inHalves("bf16", head);
    const { dhidden } = gradients(head, given);
    for (const wanted of [
      { weight: false, bias: false },
      { weight: false, bias: true },
    ])
      expect(bits(gradients(head, given, wanted).dhidden)).toBe(bits(dhidden));
  });

  it("gives a row the dhidden that it has alone, wherever it lies in a tile", () => {
    const head = headRows("rows beyond a tile", [48, 300], { counts: most.map(() => 1), bias: free });
    const given = inHalves("f16", head);
    const saved = ops.linearLogprobs(given);
    const dlogprobs = randomArrays(1).normals(200);
    const dhidden = new Float32Array(200 * 48);
    ops.linearLogprobsBackward({ ...given, ...saved, dlogprobs, dhidden });
    for (const row of [0, 9, 70, 127, 128, 199]) {
      const alone = new Float32Array(48);
      ops.linearLogprobsBackward({
        ...given,
        hidden: { dtype: "f16", data: given.hidden.data.slice(row * 48, (row + 1) * 48) },
        targetOffsets: Int32Array.of(0, 1),
        targets: head.targets.slice(row, row + 1),
        lse: saved.lse.slice(row, row + 1),
        logprobs: saved.logprobs.slice(row, row + 1),
        dlogprobs: dlogprobs.slice(row, row + 1),
        dhidden: alone,
      });
      expect(bits(alone), `row ${row}`).toBe(bits(dhidden.slice(row * 48, (row + 1) * 48)));
    }
  });

  it("adds the weights' gradients of more rows than are worked on at a time", () => {
    const head = headRows("2070 rows", [16, 8], { counts: Array.from({ length: 2070 }, () => 1) });
    expectAgreement(ops, headGradient(head, "all", inHalves("bf16", head)));
  });

  it("adds to a gradient of weights that begins at any element of a tensor", () => {
    const head = headRows("a head", [32, 150]);
    const given = inHalves("bf16", head);
    const upstream = { ...ops.linearLogprobs(given), dlogprobs: Float32Array.of(1, -2, 3, 0.5, -1) };
    const [even, odd] = [0, 1].map((begin) => {
      const dweight = ops.memory.allocate([32 * 150 + 1]).subarray(begin, begin + 32 * 150);
      ops.linearLogprobsBackward({ ...given, ...upstream, dweight });
      return bits(dweight.download() as Float32Array);
    });
    expect(odd).toBe(even);
  });

  it("reads nothing of a row whose gradients are 0", () => {
    const head = headRows("quiet", [16, 50], { counts: [1, 1, 2, 1] });
    const saved = ops.linearLogprobs(inHalves("bf16", head));
    const found = [head.hidden, head.hidden.slice().fill(NaN, 16, 32)].map((hidden) => {
      const out = {
        dhidden: new Float32Array(64).fill(NaN),
        dweight: new Float32Array(800),
        dbias: new Float32Array(50),
      };
      const dlogprobs = Float32Array.of(1, 0, -2, 3, 0.5);
      ops.linearLogprobsBackward({ ...inHalves("bf16", { ...head, hidden }), ...saved, dlogprobs, ...out });
      expect(out.dhidden.subarray(16, 32).every((d) => d === 0)).toBe(true);
      return [bits(out.dhidden), bits(out.dweight), bits(out.dbias)];
    });
    expect(found[1]).toEqual(found[0]);
  });

  it("takes heads of one half type whose width is a multiple of 16, unless products are asked for", () => {
    // The gradient of the weight alone: that of the hidden states takes as much shared memory by products too.
    const run = (H: number, change: object = {}) => {
      const head = headRows("a head", [H, 40]);
      const saved = {
        lse: new Float32Array(4),
        logprobs: new Float32Array(5),
        dlogprobs: Float32Array.of(1, 1, 1, 1, 1),
      };
      const dweight = new Float32Array(40 * H);
      ops.linearLogprobsBackward({ ...inHalves("f16", head), ...change, ...saved, dweight });
    };
    const floats = headRows("a head", [32, 40]).hidden;
    expect(() => run(32)).not.toThrow();
    process.env["STEPCREDIT_SIMT_SHARED"] = String(48 << 10); // too little for tiles
    expect(() => run(24)).not.toThrow();
    expect(() => run(32, { hidden: floats })).not.toThrow();
    expect(() => run(32)).toThrow(/linear_logprobs_backward: launch/);
    process.env["STEPCREDIT_CUDA_HEAD"] = "products";
    expect(() => run(32)).not.toThrow();
  });
});
