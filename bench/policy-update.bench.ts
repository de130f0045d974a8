/** policyUpdate: logits to dlogits; of the token clip beside them and over them, of every other form once. */

import { clipForms, familyArguments, lossForms, type LossForm } from "../test/support/cases/loss-family.ts";
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

/** The first variant of each form but the token clip: its plain one. */
const otherForms = [...clipForms, ...lossForms].filter(
  ({ op }, i, all) => op !== "clip" && all.findIndex((form) => form.op === op) === i,
);

/** A target per row; the family's targets, of which some are absent, have their log-probs from the logits. */
const fusedForm = ({ op, update: run }: LossForm): Work<Head> => ({
  op: `policyUpdate.${op}`,
  sizes: heads.slice(-1),
  reduced: { name: "reduced", rows: 9, vocabulary: 1031 },
  shape: ({ rows, vocabulary }) => `[${rows}, ${vocabulary}]`,
  cost: ({ rows, vocabulary }) => ({
    readBytes: 4 * rows * vocabulary,
    writtenBytes: 4 * rows * vocabulary,
    flops: 0,
  }),
  build({ rows, vocabulary }, make) {
    const { logprobs: _measured, ...targets } = familyArguments(rows);
    const args = {
      ...targets,
      logits: normals(1, rows * vocabulary, 2),
      targetOffsets: evenOffsets(rows, 1),
      targets: integers(2, rows, vocabulary),
      dlogits: make.filled(rows * vocabulary),
    };
    return { run: (ops) => run(ops, args), outcome: () => ({ dlogits: args.dlogits }) };
  },
});

export const policyUpdateBench = [
  ...subjects(update(false)),
  ...subjects(update(true)),
  ...otherForms.flatMap((form) => subjects(fusedForm(form))),
];
