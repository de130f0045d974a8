/** Heads of half types around the sizes of tiles on tensor cores. */

import { bitsOf } from "../../../src/ops/halves.ts";
import type { Typed } from "../../../src/ops/ops.ts";
import {
  confidentTarget,
  free,
  headRows,
  type HeadRows,
  masked,
  maskedTarget,
  temperatureScaleAndSoftcap,
} from "./linear-logprobs.ts";

export type Half = "bf16" | "f16";

export const most = Array.from({ length: 200 }, (_, t) => (t % 3 === 2 ? 0 : 1));

/** Around a product of 16 terms, a slice of 32, a tile of 128 × 128 and a group of 2048 columns. */
export const tileHeads: readonly HeadRows[] = [
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
  headRows("all of temperature, scale and softcap", [32, 300], temperatureScaleAndSoftcap),
  headRows("a softcap beyond the last column", [16, 130], { softcap: 5 }),
  headRows("wide logits", [64, 300], { spread: 30 }),
  headRows("an ignored id", [16, 100], { ignoreIndex: 3, edit: (targets) => targets.set([3, 5, 3]) }),
  headRows("a masked first tile", [16, 200], { counts: [1, 1], bias: masked(0, 150) }),
  headRows("a masked target", [16, 50], maskedTarget(7)),
  headRows("wholly masked rows", [16, 21], { bias: masked(0, 21) }),
  headRows("a confident target", [16, 160], confidentTarget(141)),
];

/** A head with hidden states and weights in a half type. */
export function inHalves(dtype: Half, head: HeadRows) {
  const typed = (values: Float32Array): Typed => ({ dtype, data: bitsOf(dtype, values) });
  return { ...head, hidden: typed(head.hidden), weight: typed(head.weight) };
}
