/** Tensors may begin at any element of their memory, and vectors of several elements may not: device code has to see to it. */

import { describe, it } from "vitest";
import { openOps } from "../../src/ops/native.ts";
import type { Ops } from "../../src/ops/ops.ts";
import { expectAgreement } from "../support/agreement.ts";
import { cases, type OpCase } from "../support/cases.ts";
import { headGradient } from "../support/cases/linear-logprobs.ts";
import { inHalves, tileHeads } from "../support/cases/tile-heads.ts";
import { runsOnHost } from "../support/cuda.ts";
import { onHostDevice } from "../support/host-device.ts";
import { atOddPlaces } from "../support/odd-places.ts";

/** The first cases of every op, and its first of halves. */
function firstOfEach(): OpCase[] {
  const taken = new Map<string, number>();
  return cases.filter(({ op, name }) => {
    const kind = `${op} ${/\b(bf16|f16)\b/.exec(name)?.[0] ?? "f32"}`;
    const count = (taken.get(kind) ?? 0) + 1;
    taken.set(kind, count);
    return count <= 3;
  });
}

describe.skipIf(!runsOnHost)("device code on tensors that begin at the second element of their memory", () => {
  let ops: Ops;
  onHostDevice(() => (ops = atOddPlaces(openOps("cuda"))));

  it.each(firstOfEach())("agrees with the reference: $op, $name", (opCase) => expectAgreement(ops, opCase));

  it("makes no tiles of a head whose weight lies there", () => {
    for (const dtype of ["bf16", "f16"] as const)
      expectAgreement(ops, headGradient(tileHeads[0], "all", inHalves(dtype, tileHeads[0])));
  });
});
