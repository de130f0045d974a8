/** policyUpdate.clip: logits to dlogits, beside them and over them. */

import type { Work } from "./harness.ts";
import { subjects } from "./harness.ts";
import { evenOffsets, integers, normals } from "./inputs.ts";
import * as plain from "./peers/plain.ts";
import { heads, type Head } from "./shapes.ts";

function update(inPlace: boolean): Work<Head> {
  return {
    op: "policyUpdate.clip",
    ...(inPlace && { variant: "in-place" }),
    sizes: heads,
    reduced: { name: "reduced", rows: 9, vocabulary: 1031 },
    shape: ({ rows, vocabulary }) => `[${rows}, ${vocabulary}]`,
    cost: ({ rows, vocabulary }) => ({
      readBytes: 4 * rows * vocabulary,
      writtenBytes: 4 * rows * vocabulary,
      flops: 0,
    }),
    build({ rows, vocabulary }, make) {
      const logits = make.copy(normals(1, rows * vocabulary, 2));
      const targetOffsets = evenOffsets(rows, 1);
      const targets = integers(2, rows, vocabulary);
      const written = { lse: make.filled(rows), logprobs: make.filled(rows), dlogprobs: make.filled(rows) };
      plain.logprobs({ logits, targetOffsets, targets, ...written });
      const moved = normals(3, rows, 0.1);
      const args = {
        logits,
        targetOffsets,
        targets,
        oldLogprobs: Float32Array.from(written.logprobs, (logprob, n) => logprob + moved[n]),
        advantages: Float32Array.from({ length: 2 * rows }, (_, i) => (i % 2 === 0 ? 0.75 : 0)),
        weights: new Float32Array(rows).fill(1 / rows),
        epsLow: 0.2,
        epsHigh: 0.28,
        ...written,
        dlogits: inPlace ? logits : make.filled(rows * vocabulary),
      };
      return {
        run: (ops) => ops.policyUpdate.clip(args),
        runPlain: () => plain.policyUpdateClip(args),
        outcome: () => ({ ...written, dlogits: args.dlogits }),
      };
    },
    torch: ({ rows, vocabulary }) => ({ subject: "policy_update", shape: { rows, vocabulary } }),
  };
}

export const policyUpdateBench = [...subjects(update(false)), ...subjects(update(true))];
