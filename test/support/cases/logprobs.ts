import { reference } from "../../../src/ops/reference.ts";
import { randomArrays } from "../arrays.ts";
import type { OpCase } from "./op-case.ts";
import { float64 } from "./op-case.ts";
import type { Rows } from "./rows.ts";
import { awkwardRows } from "./rows.ts";

export function logprobsCases(): OpCase[] {
  return awkwardRows.flatMap((rows) => [forward(rows), backward(rows, false), backward(rows, true), quiet(rows)]);
}

function forward(rows: Rows): OpCase {
  const T = rows.targetOffsets.length - 1;
  return {
    op: "logprobs",
    name: rows.name,
    run: (ops, make) => ({
      ...ops.logprobs({
        ...rows,
        lse: make.filled(T),
        logprobs: make.filled(rows.targets.length),
        entropy: make.filled(T),
        sumSquares: make.filled(T),
      }),
    }),
  };
}

function backward(rows: Rows, withEntropy: boolean): OpCase {
  const T = rows.targetOffsets.length - 1;
  const draw = randomArrays(rows.V);
  const { lse, entropy } = reference().logprobs({ ...rows, entropy: true });
  const args = {
    ...rows,
    lse: Float32Array.from(lse),
    dlogprobs: draw.normals(rows.targets.length),
    ...(withEntropy && { entropy: Float32Array.from(entropy!), dentropy: draw.normals(T) }),
  };
  return {
    op: "logprobsBackward",
    name: `${rows.name}${withEntropy ? ", with entropy" : ""}`,
    scale: { dlogits: rows.several ? args.dlogprobs.reduce((sum, g) => sum + Math.abs(g), 0) : 0 },
    run: (ops, make) => ({ dlogits: ops.logprobsBackward({ ...args, dlogits: make.filled(rows.logits.length) }) }),
  };
}

/** Gradients of zero give rows of exactly zero, whatever the logits are. */
function quiet(rows: Rows): OpCase {
  const T = rows.targetOffsets.length - 1;
  const { lse, entropy } = reference().logprobs({ ...rows, lse: float64.filled(T), entropy: float64.filled(T) });
  const args = {
    ...rows,
    lse: Float32Array.from(lse),
    entropy: Float32Array.from(entropy!),
    dlogprobs: new Float32Array(rows.targets.length),
    dentropy: new Float32Array(T),
  };
  return {
    op: "logprobsBackward",
    name: `${rows.name}, gradients of zero`,
    run: (ops, make) => ({ dlogits: ops.logprobsBackward({ ...args, dlogits: make.filled(rows.logits.length) }) }),
  };
}
