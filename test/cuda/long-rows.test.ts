import { describe, it } from "vitest";
import { bitsOf, floatsOf } from "../../src/ops/halves.ts";
import { openOps } from "../../src/ops/native.ts";
import type { NativeOps } from "../../src/ops/native.ts";
import type { Ops, Typed } from "../../src/ops/ops.ts";
import { reference } from "../../src/ops/reference.ts";
import { expectAgreement } from "../support/agreement.ts";
import { randomArrays } from "../support/arrays.ts";
import type { OpCase } from "../support/cases.ts";
import { metricOutcome, offsetsOf } from "../support/cases/op-case.ts";
import { updateArguments, updateScale } from "../support/cases/update.ts";
import { runsOnHost } from "../support/cuda.ts";
import { onHostDevice } from "../support/host-device.ts";

/** More than a block of few threads is given; odd, so that rows begin at every residue of 16 bytes. */
const V = 65539;
const counts = [1, 2, 0, 1, 1, 1, 1, 1];
const T = counts.length;
const targetOffsets = offsetsOf(counts);
const N = targetOffsets[T];
const draw = randomArrays(V);
const targets = draw.integers(N, V);
const floats = draw.normals(T * V, 3);
floats[3 * V + targets[3]] = 22; // a confident target
floats.fill(-Infinity, 4 * V, 4 * V + 40000);

const wide = { bf16: 2 ** 16, f16: 2 ** 13, f32: 4 } as const;

describe.skipIf(!runsOnHost)("device code on the host takes rows of many threads", () => {
  let ops: NativeOps;
  onHostDevice(() => (ops = openOps("cuda")));

  for (const dtype of ["f32", "bf16", "f16"] as const) {
    for (const opCase of longRows(dtype)) it(`${opCase.op}: ${opCase.name}`, () => expectAgreement(ops, opCase));
  }
});

function longRows(dtype: keyof typeof wide): OpCase[] {
  const typed = (): Float32Array | Typed => (dtype === "f32" ? floats.slice() : { dtype, data: bitsOf(dtype, floats) });
  const rows = { logits: typed(), targetOffsets, targets };
  const saved = reference().logprobs({ ...rows, entropy: true });
  const upstream = {
    lse: Float32Array.from(saved.lse),
    entropy: Float32Array.from(saved.entropy!),
    dlogprobs: draw.normals(N),
    dentropy: draw.normals(T),
  };
  const { dentropy: _dentropy, entropy: _entropy, ...quiet } = upstream;
  const size = upstream.dlogprobs.reduce((sum, g) => sum + Math.abs(g), 0);
  const update = updateArguments({ ...rows, logits: floats, name: "long rows", V, temperature: 1, several: false });
  const gradient = (name: string, given: object): OpCase => ({
    op: "logprobsBackward",
    name: `${dtype}, ${name}, in place`,
    scale: { dlogits: size },
    ulps: wide[dtype],
    run: (ops) => {
      const logits = typed();
      const args = { ...rows, ...given, logits, dlogits: logits };
      const dlogits = ops.logprobsBackward(args as unknown as Parameters<Ops["logprobsBackward"]>[0]);
      return { dlogits: dlogits instanceof Float32Array ? dlogits : floatsOf(dlogits) };
    },
  });
  return [
    {
      op: "logprobs",
      name: dtype,
      run: (ops, make) => {
        const out = {
          lse: make.filled(T),
          logprobs: make.filled(N),
          entropy: make.filled(T),
          sumSquares: make.filled(T),
        };
        return { ...ops.logprobs({ ...rows, ...out }) };
      },
    },
    {
      op: "policyUpdate.clip",
      name: `${dtype}, in place`,
      scale: updateScale(update),
      ulps: wide[dtype],
      run: (ops) => {
        const logits = typed();
        const { metrics, dlogits, logprobs, lse } = ops.policyUpdate.clip({ ...update, logits, dlogits: logits });
        const written = dlogits instanceof Float32Array ? dlogits : floatsOf(dlogits);
        return { dlogits: written, logprobs, lse, ...metricOutcome(metrics) };
      },
    },
    gradient("log-probs", quiet),
    gradient("log-probs and entropies", upstream),
  ];
}
