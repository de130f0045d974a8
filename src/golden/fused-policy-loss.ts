/**
 * Vectors of a policy loss on the log-probs of a language-model head. Every position is a target of the head, so that all
 * log-probs can be compared; the loss sees those that the mask keeps.
 */
import { linearPolicyUpdate } from "../linear-policy-update.ts";
import type { Floats, Ops } from "../ops/ops.ts";
import { layoutOf, type Layout } from "./layout.ts";
import { computePolicyLoss } from "./policy-loss.ts";
import {
  flatten,
  floats,
  optionalNumber,
  rows,
  type Computed,
  type GoldenVector,
  type Json,
  type Precision,
} from "./vector.ts";

export function computeFusedPolicyLoss(vector: GoldenVector, ops: Ops, precision: Precision): Computed {
  const { inputs, options } = vector;
  const layout = layoutOf(rows(inputs["mask"], "mask"));
  const array = (name: string) => floats(precision, flatten(inputs[name], name));
  const weight = array("weight");
  const V = rows(inputs["weight"], "weight").length;
  const given = flatten(inputs["targets"], "targets");
  // A masked position may hold a token that is none.
  const owned = given.map((target) => target >= 0 && target < V);
  const targetOffsets = new Int32Array(given.length + 1);
  owned.forEach((owns, t) => (targetOffsets[t + 1] = targetOffsets[t] + (owns ? 1 : 0)));
  const [logitScale, softcap] = [optionalNumber(options, "logit_scale"), optionalNumber(options, "softcap")];
  const perRow = inputs["temperature_per_row"] !== undefined;
  const outputs = (length: number) => floats(precision, new Float64Array(length));
  const hidden = array("hidden");
  const gradients = { dhidden: outputs(hidden.length), dweight: outputs(weight.length), dbias: outputs(V) };

  let computed: Computed | undefined;
  const logp = outputs(given.length);
  const grad = (name: string) => computed?.values[name] as Floats;
  linearPolicyUpdate(
    ops,
    {
      hidden,
      weight,
      ...(inputs["bias"] !== undefined && { bias: array("bias") }),
      targetOffsets,
      targets: Int32Array.from(given.filter((_, t) => owned[t])),
      temperature: perRow ? array("temperature_per_row") : (optionalNumber(options, "temperature") ?? 1),
      ...(logitScale !== undefined && { logitScale }),
      ...(softcap !== undefined && { softcap }),
      ...gradients,
    },
    (logprobs, entropy) => {
      given.forEach((_, t) => (logp[t] = owned[t] ? logprobs[targetOffsets[t]] : 0));
      const { temperature: _temperature, logit_scale: _scale, softcap: _cap, ...rest } = options;
      const measured = { logp: nested(layout, logp), entropy: nested(layout, entropy) };
      computed = computePolicyLoss({ ...vector, inputs: { ...inputs, ...measured }, options: rest }, ops, precision);
      return {
        dlogprobs: floats(
          precision,
          grad("grad_logp").filter((_, t) => owned[t]),
        ),
        ...("grad_entropy" in computed.values && { dentropy: floats(precision, grad("grad_entropy")) }),
        metrics: { loss: computed.values["loss"] as number },
      };
    },
  );
  const { loss } = (computed as unknown as Computed).values;
  return {
    values: {
      loss,
      logp,
      grad_hidden: gradients.dhidden,
      grad_weight: gradients.dweight,
      grad_bias: gradients.dbias,
    },
    metrics: (computed as unknown as Computed).metrics ?? {},
  };
}

/** Positions as rows `[B, T]` of a vector. */
function nested({ sequences, rowOffsets }: Layout, values: Floats): Json {
  return Array.from({ length: sequences }, (_, b) => Array.from(values.subarray(rowOffsets[b], rowOffsets[b + 1])));
}
