/** Plans of the fused updates: logits to their gradient in one call. */

import { Check } from "../check.ts";
import type { PolicyUpdateArguments, PolicyUpdateOps, PolicyUpdateResult, ReinforceArguments, Values } from "../ops.ts";
import { call, type Call, type KernelPlans, type Plans } from "./call.ts";
import { lossMetrics, lossTargetFields, newMetricSums } from "./loss-fields.ts";
import { lossForms, type LossForm } from "./loss-forms.ts";
import { dlogitsFields, rowFields } from "./rows.ts";

export function updatePlans(): Pick<KernelPlans, "policyUpdate"> {
  const plans = Object.entries(lossForms).map(([name, form]: [string, LossForm<ReinforceArguments>]) => [
    name,
    (args: PolicyUpdateArguments<ReinforceArguments, Values>) =>
      updateCall(new Check(`policyUpdate.${name}`), form, args),
  ]);
  return { policyUpdate: Object.fromEntries(plans) as Plans<PolicyUpdateOps> };
}

function updateCall(
  check: Check,
  form: LossForm<ReinforceArguments>,
  args: PolicyUpdateArguments<ReinforceArguments, Values>,
): Call<PolicyUpdateResult<Values>> {
  const rows = rowFields(check, args);
  const logprobs = check.output("logprobs", "[N]", args.logprobs, rows.N);
  const lse = check.output("lse", "[T]", args.lse, rows.T);
  const entropy = check.requested("entropy", "[T]", args.entropy, rows.T);
  const dlogprobs = check.output("dlogprobs", "[N]", args.dlogprobs, rows.N);
  const { dlogits, data } = dlogitsFields(check, args, rows);
  const metrics = newMetricSums();
  return call(
    `policy_update_${form.kernel}`,
    {
      ...form.fields(check, args, rows.N),
      ...lossTargetFields(check, args, rows.N),
      ...rows,
      entropyWeights: check.optionalFloats("entropyWeights", "[T]", args.entropyWeights, rows.T),
      logprobs,
      lse,
      entropy,
      dlogprobs,
      dlogits: data,
      metrics,
    },
    () => ({ logprobs, lse, dlogprobs, dlogits, metrics: lossMetrics(metrics), ...(entropy && { entropy }) }),
  );
}
