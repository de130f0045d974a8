/** sample: a token per row of logits, from the whole distribution and from its nucleus. */

import type { Work } from "./harness.ts";
import { subjects } from "./harness.ts";
import { normals } from "./inputs.ts";
import * as plain from "./peers/plain.ts";
import { decodingHead, type Head } from "./shapes.ts";

function sampling(variant: string | undefined, topP: number): Work<Head> {
  return {
    op: "sample",
    ...(variant !== undefined && { variant }),
    sizes: [decodingHead],
    reduced: { name: "reduced", rows: 7, vocabulary: 515 },
    shape: ({ rows, vocabulary }) => `[${rows}, ${vocabulary}]`,
    cost: ({ rows, vocabulary }) => ({ readBytes: 4 * rows * vocabulary, writtenBytes: 8 * rows, flops: 0 }),
    build({ rows, vocabulary }, make) {
      const logits = normals(1, rows * vocabulary, 2);
      const tokens = new Int32Array(rows);
      const logprobs = make.filled(rows);
      const streams = Int32Array.from({ length: rows }, (_, r) => r);
      const positions = new Int32Array(rows);
      return {
        run: (ops) => ops.sample({ logits, topP, seed: 1, streams, positions, tokens, logprobs }),
        ...(topP === 1 && { runPlain: () => plain.sample(logits, tokens, logprobs) }),
        outcome: () => ({ tokens, logprobs }),
      };
    },
    ...(topP === 1 && { torch: ({ rows, vocabulary }: Head) => ({ subject: "sample", shape: { rows, vocabulary } }) }),
  };
}

export const sampleBench = [...subjects(sampling(undefined, 1)), ...subjects(sampling("top-p", 0.95))];
