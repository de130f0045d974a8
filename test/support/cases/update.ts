import type { PolicyUpdateArguments, PolicyUpdateResult } from "../../../src/ops/ops.ts";
import { reference } from "../../../src/ops/reference.ts";
import { randomArrays } from "../arrays.ts";
import { clipVariants, lossArguments, lossScale } from "./loss.ts";
import type { LossForm } from "./loss-family.ts";
import { lossForms, sharedVariants } from "./loss-family.ts";
import type { Make, OpCase, Outcome } from "./op-case.ts";
import { metricOutcome } from "./op-case.ts";
import type { Rows } from "./rows.ts";
import { awkwardRows } from "./rows.ts";

/** The fused update of rows of logits: old log-probs near the rows' own, junk at absent targets. */
export function updateArguments(rows: Rows, options: Partial<PolicyUpdateArguments> = {}): PolicyUpdateArguments {
  const N = rows.targets.length;
  const { logprobs: _out, ...loss } = lossArguments(N, {}, rows.V);
  const { logprobs } = reference().logprobs(rows);
  const draw = randomArrays(rows.V + 1);
  const near = (given: Float32Array) =>
    given.map((x, n) =>
      Number.isFinite(x) ? (Number.isFinite(logprobs[n]) ? logprobs[n] : -1) + 0.25 * draw.normal() : x,
    );
  return { ...rows, ...loss, oldLogprobs: near(loss.oldLogprobs), refLogprobs: near(loss.refLogprobs), ...options };
}

export function updateCases(): OpCase[] {
  // A masked target has no ratio: log-prob −∞ less a number is −∞, and its surrogate's KL is infinite.
  const usable = awkwardRows.filter(({ name }) => !/NaN|masked target|wholly masked|all but one/.test(name));
  const some = awkwardRows.find(({ name }) => name === "temperature 0.7")!;
  const entropyWeights = (rows: Rows) => ({
    entropyWeights: randomArrays(rows.V)
      .normals(rows.targetOffsets.length - 1, 0.1)
      .map((weight, t) => (t === 2 ? 0 : weight)),
  });
  return [
    ...usable.map((rows) => updateCase(rows.name, updateArguments(rows))),
    ...usable.map((rows) => updateCase(`${rows.name}, entropy weights`, updateArguments(rows, entropyWeights(rows)))),
    ...clipVariants.map(([name, options]) =>
      updateCase(name, updateArguments(some, { ...options, ...entropyWeights(some) })),
    ),
    ...[...lossForms, sequenceClip].flatMap((each) => [
      ...usable.map((rows) => formCase(each, rows.name, { ...updateArguments(rows), ...sequences(rows) })),
      ...sharedVariants.map(([name, options]) =>
        formCase(each, name, { ...updateArguments(some, { ...options, ...entropyWeights(some) }), ...sequences(some) }),
      ),
    ]),
  ];
}

/** Targets cut into sequences, the last of them empty. */
export function sequences({ targets }: Pick<Rows, "targets">): { readonly sequenceOffsets: Int32Array } {
  const N = targets.length;
  return { sequenceOffsets: Int32Array.of(0, Math.ceil(N / 3), N, N) };
}

type UpdateForm = Pick<LossForm, "op" | "name" | "update">;

/** Its loss has cases of its own, beside those of `clip`. */
const sequenceClip: UpdateForm = {
  op: "sequenceClip",
  name: "one ratio per sequence",
  update: (ops, args) => ops.policyUpdate.sequenceClip({ ...args, epsLow: 0.2, epsHigh: 0.3 }),
};

function formCase(
  form: UpdateForm,
  name: string,
  args: PolicyUpdateArguments & { readonly sequenceOffsets: Int32Array },
): OpCase {
  return {
    op: `policyUpdate.${form.op}`,
    name: `${form.name}, ${name}`,
    scale: updateScale(args),
    run: (ops, make) => updated(args, make, (given) => form.update(ops, given)),
  };
}

function updateCase(name: string, args: PolicyUpdateArguments): OpCase {
  return {
    op: "policyUpdate.clip",
    name,
    scale: updateScale(args),
    run: (ops, make) => updated(args, make, (given) => ops.policyUpdate.clip(given)),
  };
}

/** Everything that an update writes. */
function updated<Args extends PolicyUpdateArguments>(
  args: Args,
  make: Make,
  update: (args: Args) => PolicyUpdateResult,
): Outcome {
  const N = args.targets.length;
  const T = args.targetOffsets.length - 1;
  const out = { ratios: make.filled(N), logprobs: make.filled(N), lse: make.filled(T), entropy: make.filled(T) };
  const gradients = { dlogprobs: make.filled(N), dlogits: make.filled(args.logits.length) };
  const { metrics } = update({ ...args, ...out, ...gradients });
  return { ...out, ...gradients, ...metricOutcome(metrics) };
}

/** What the fused update rounds its log-probs to shows in all that follows from them. */
export function updateScale(args: PolicyUpdateArguments): Record<string, number> {
  const { logprobs } = reference().logprobs({
    logits: args.logits,
    targetOffsets: args.targetOffsets,
    targets: args.targets,
    temperature: args.temperature ?? 1,
  });
  const sizes = Array.from(logprobs, Math.abs).filter(Number.isFinite);
  const [largest, weight] = [Math.max(1, ...sizes), Math.max(0, ...args.weights)];
  return { ...lossScale(args, largest), dlogprobs: largest * weight, dlogits: largest * weight };
}
