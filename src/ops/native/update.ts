/** Plans of the fused updates: logits to their gradient in one call. */

import { Check } from "../check.ts";
import { call, type KernelPlans } from "./call.ts";
import { lossFields, lossMetricCount, lossMetrics } from "./loss-fields.ts";
import { dlogitsFields, rowFields } from "./rows.ts";

export function updatePlans(): Pick<KernelPlans, "policyUpdate"> {
  return {
    policyUpdate: {
      clip(args) {
        const check = new Check("policyUpdate.clip");
        const rows = rowFields(check, args);
        const logprobs = check.output("logprobs", "[N]", args.logprobs, rows.N);
        const lse = check.output("lse", "[T]", args.lse, rows.T);
        const entropy = check.requested("entropy", "[T]", args.entropy, rows.T);
        const dlogprobs = check.output("dlogprobs", "[N]", args.dlogprobs, rows.N);
        const { dlogits, data } = dlogitsFields(check, args, rows);
        const metrics = new Float64Array(lossMetricCount);
        return call(
          "policy_update_clip",
          {
            ...lossFields(check, args, rows.N),
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
      },
    },
  };
}
