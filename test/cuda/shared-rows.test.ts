/** Few long rows are shared by several blocks, many are not: the device of these tests has four multiprocessors. */

import { describe, expect, it } from "vitest";
import { bitsOf, floatsOf } from "../../src/ops/halves.ts";
import { openOps } from "../../src/ops/native.ts";
import type { NativeOps } from "../../src/ops/native.ts";
import type { Ops, Typed } from "../../src/ops/ops.ts";
import { randomArrays } from "../support/arrays.ts";
import { offsetsOf } from "../support/cases/op-case.ts";
import type { Outcome } from "../support/cases/op-case.ts";
import { bits } from "../support/close.ts";
import { runsOnHost } from "../support/cuda.ts";
import { onHostDevice } from "../support/host-device.ts";

const counts = [1, 0, 3, 1, 2];
const T = counts.length;
const targetOffsets = offsetsOf(counts);
const N = targetOffsets[T];

/** Rows of V logits: a masked segment, a confident target, one that lies outside of what is likely. */
function longRows(V: number) {
  const draw = randomArrays(V);
  const logits = draw.normals(T * V, 3);
  const targets = draw.integers(N, V);
  logits.fill(-Infinity, 2 * V, 2 * V + 16500);
  targets[1] = V - 1;
  logits[3 * V + targets[4]] = 24;
  return {
    V,
    logits,
    targets,
    dlogprobs: draw.normals(N),
    dentropy: draw.normals(T),
    oldLogprobs: draw.normals(N).map((x) => x - 8),
    advantages: draw.normals(N),
  };
}

type Given = ReturnType<typeof longRows>;
type Dtype = "f32" | "bf16";

/** What the ops write of rows `first … last − 1`. */
function outcome(ops: Ops, given: Given, dtype: Dtype, options: object, first: number, last: number): Outcome {
  const { V } = given;
  const [from, to] = [targetOffsets[first], targetOffsets[last]];
  const floats = given.logits.slice(first * V, last * V);
  const logits = (): Float32Array | Typed =>
    dtype === "f32" ? floats.slice() : { dtype, data: bitsOf(dtype, floats) };
  const part = {
    targetOffsets: targetOffsets.slice(first, last + 1).map((offset) => offset - from),
    targets: given.targets.slice(from, to),
    ...options,
  };
  const measured = ops.logprobs({ ...part, logits: logits(), entropy: true, sumSquares: true });
  const { lse, logprobs, entropy } = ops.logprobs({ ...part, logits: logits(), entropy: true });
  const back = { ...part, lse, dlogprobs: given.dlogprobs.slice(from, to) };
  const loss = {
    ...part,
    oldLogprobs: given.oldLogprobs.slice(from, to),
    advantages: given.advantages.slice(from, to),
    weights: new Float32Array(to - from).fill(0.5),
  };
  const dentropy = given.dentropy.slice(first, last);
  const plain = logits();
  const inPlace = logits();
  const clip = ops.policyUpdate.clip({ ...loss, logits: plain, dlogits: plain, epsLow: 0.2, epsHigh: 0.3 });
  const bonus = ops.policyUpdate.clip({
    ...loss,
    logits: logits(),
    entropyWeights: dentropy,
    epsLow: 0.2,
    epsHigh: 0.3,
  });
  return {
    lse: measured.lse,
    logprobs: measured.logprobs,
    sumSquares: measured.sumSquares!,
    entropy: entropy!,
    again: logprobs,
    gradient: floatsOf(ops.logprobsBackward({ ...back, logits: inPlace, dlogits: inPlace })),
    gradientOfBoth: floatsOf(ops.logprobsBackward({ ...back, logits: logits(), entropy: entropy!, dentropy })),
    updated: floatsOf(clip.dlogits),
    updatedLogprobs: clip.logprobs,
    updatedWithBonus: floatsOf(bonus.dlogits),
  };
}

describe.skipIf(!runsOnHost)("device code on the host: few long rows", () => {
  let ops: NativeOps;
  onHostDevice(() => (ops = openOps("cuda")));

  it.each([
    [16385, "f32", {}],
    [40001, "bf16", { temperature: 0.7 }],
    [40001, "f32", { softcap: 5 }],
    [65539, "f32", {}],
    [65539, "bf16", {}],
  ] as const)("V = %i, %s, %j: a row has the bits that it has among many", (V, dtype, options) => {
    const given = longRows(V);
    const whole = outcome(ops, given, dtype, options, 0, T);
    const widths: Record<string, Int32Array> = {};
    for (const [name, values] of Object.entries(whole))
      widths[name] =
        values.length === N ? targetOffsets : offsetsOf(Array.from({ length: T }, () => values.length / T));
    for (const [first, last] of [
      [0, 1],
      [1, 3],
      [2, 3],
      [3, 4],
      [2, 5],
    ] as const) {
      const few = outcome(ops, given, dtype, options, first, last);
      for (const [name, values] of Object.entries(few)) {
        const known = whole[name].slice(widths[name][first], widths[name][last]);
        expect(bits(values), `${name} of rows ${first} to ${last}`).toBe(bits(known));
      }
    }
  });
});
