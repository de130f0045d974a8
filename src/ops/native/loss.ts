/** Plans of credit and loss: the scatter of credits, the KL estimators, the forms of the policy loss, the value loss. */

import { Check } from "../check.ts";
import type { PolicyLossOps, PolicyLossResult, ReinforceArguments, ScatterByOffsetsArguments } from "../ops.ts";
import { call, type Call, type KernelPlans, type Plans } from "./call.ts";
import { klFields, lossMetrics, lossTargetFields, newMetricSums } from "./loss-fields.ts";
import { lossForms, type LossForm } from "./loss-forms.ts";

export function lossPlans(): Pick<
  KernelPlans,
  "scatterAdvantages" | "scatterAdvantagesBackward" | "kl" | "policyLoss" | "valueLoss"
> {
  return {
    scatterAdvantages(args) {
      const check = new Check("scatterAdvantages");
      const stepCredits = check.floats("stepCredits", "[S, 2]", args.stepCredits);
      const S = check.rows("stepCredits", "[S, 2]", stepCredits.length, 2);
      if (args.stepOffsets !== undefined) return scatterByOffsets(check, args, S);
      const stepOf = check.ints("stepOf", "[N]", args.stepOf);
      check.range("stepOf", "[N]", stepOf, -1, S - 1);
      const advantages = check.output("advantages", "[N, 2]", args.advantages, 2 * stepOf.length);
      return call("scatter_advantages", { N: stepOf.length, S, stepCredits, stepOf, advantages }, () => advantages);
    },

    scatterAdvantagesBackward(args) {
      const check = new Check("scatterAdvantagesBackward");
      if (args.stepOffsets !== undefined) {
        const dadvantages = check.floats("dadvantages", "[N, 2]", args.dadvantages);
        const N = check.rows("dadvantages", "[N, 2]", dadvantages.length, 2);
        const stepOffsets = check.spans("stepOffsets", "[S + 1]", args.stepOffsets, N);
        const S = stepOffsets.length - 1;
        const dstepCredits = check.output("dstepCredits", "[S, 2]", args.dstepCredits, 2 * S);
        const fields = { N, S, dadvantages, stepOffsets, dstepCredits };
        return call("scatter_advantages_by_offsets_backward", fields, () => dstepCredits);
      }
      const S = check.integer("steps", args.steps, 0);
      const stepOf = check.ints("stepOf", "[N]", args.stepOf);
      check.range("stepOf", "[N]", stepOf, -1, S - 1);
      const dadvantages = check.floats("dadvantages", "[N, 2]", args.dadvantages, 2 * stepOf.length);
      const dstepCredits = check.output("dstepCredits", "[S, 2]", args.dstepCredits, 2 * S);
      return call(
        "scatter_advantages_backward",
        { N: stepOf.length, S, dadvantages, stepOf, dstepCredits },
        () => dstepCredits,
      );
    },

    kl(args) {
      const check = new Check("kl");
      const logprobs = check.floats("logprobs", "[N]", args.logprobs);
      const N = logprobs.length;
      const kl = check.output("kl", "[N]", args.kl, N);
      const dlogprobs = check.output("dlogprobs", "[N]", args.dlogprobs, N);
      return call(
        "kl",
        {
          N,
          ...klFields(check, args),
          logprobs,
          refLogprobs: check.floats("refLogprobs", "[N]", args.refLogprobs, N),
          dkl: check.optionalFloats("dkl", "[N]", args.dkl, N),
          kl,
          dlogprobs,
        },
        () => ({ kl, dlogprobs }),
      );
    },

    policyLoss: policyLossPlans(),

    valueLoss(args) {
      const check = new Check("valueLoss");
      const values = check.floats("values", "[N]", args.values);
      const N = values.length;
      if (args.clip !== undefined && args.oldValues === undefined) check.fail("oldValues [N] with clip", "none");
      const dvalues = check.output("dvalues", "[N]", args.dvalues, N);
      const sums = new Float64Array(3);
      return call(
        "value_loss",
        {
          N,
          clip: args.oldValues === undefined ? Infinity : check.notNegative("clip", args.clip ?? Infinity),
          values,
          oldValues: check.optionalFloats("oldValues", "[N]", args.oldValues, N),
          returns: check.floats("returns", "[N]", args.returns, N),
          weights: check.floats("weights", "[N]", args.weights, N),
          dvalues,
          metrics: sums,
        },
        () => {
          const [loss, count, clipped] = sums;
          return { dvalues, metrics: { loss, count, clipFraction: count > 0 ? clipped / count : 0 } };
        },
      );
    },
  };
}

function scatterByOffsets(check: Check, args: ScatterByOffsetsArguments, S: number): Call<Float32Array> {
  const last = check.ints("stepOffsets", "[S + 1]", args.stepOffsets, S + 1)[S];
  const N = args.targets === undefined ? Math.max(last, 0) : check.integer("targets", args.targets, 0, 2 ** 31 - 1);
  const stepOffsets = check.spans("stepOffsets", "[S + 1]", args.stepOffsets, N);
  const advantages = check.output("advantages", "[N, 2]", args.advantages, 2 * N);
  const fields = { N, S, stepCredits: args.stepCredits, stepOffsets, advantages };
  return call("scatter_advantages_by_offsets", fields, () => advantages);
}

function policyLossPlans(): KernelPlans["policyLoss"] {
  const plans = Object.entries(lossForms).map(([name, form]: [string, LossForm<ReinforceArguments>]) => [
    name,
    (args: ReinforceArguments) => lossCall(new Check(`policyLoss.${name}`), form, args),
  ]);
  return Object.fromEntries(plans) as Plans<PolicyLossOps>;
}

/** The call of one form of the loss, with the fields that it has besides the shared ones. */
function lossCall(
  check: Check,
  { kernel, fields }: LossForm<ReinforceArguments>,
  args: ReinforceArguments,
): Call<PolicyLossResult> {
  const logprobs = check.floats("logprobs", "[N]", args.logprobs);
  const N = logprobs.length;
  const own = fields(check, args, N);
  const dlogprobs = check.output("dlogprobs", "[N]", args.dlogprobs, N);
  const metrics = newMetricSums();
  return call(
    `policy_loss_${kernel}`,
    { ...lossTargetFields(check, args, N), ...own, logprobs, dlogprobs, metrics },
    () => ({ dlogprobs, metrics: lossMetrics(metrics) }),
  );
}
