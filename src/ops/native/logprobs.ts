/** Plans of `logprobs`, `linearLogprobs` and their gradients. */

import { Check } from "../check.ts";
import { call, nothing, type KernelPlans } from "./call.ts";
import { dlogitsFields, headFields, rowFields } from "./rows.ts";

/** @param portable 1: the portable matrix product even where BLAS is at hand */
export function logprobsPlans(
  portable: 0 | 1,
): Pick<KernelPlans, "logprobs" | "logprobsBackward" | "linearLogprobs" | "linearLogprobsBackward"> {
  return {
    logprobs(args) {
      const check = new Check("logprobs");
      const rows = rowFields(check, args);
      const lse = check.output("lse", "[T]", args.lse, rows.T);
      const logprobs = check.output("logprobs", "[N]", args.logprobs, rows.N);
      const entropy = check.requested("entropy", "[T]", args.entropy, rows.T);
      const sumSquares = check.requested("sumSquares", "[T]", args.sumSquares, rows.T);
      return call("logprobs", { ...rows, lse, logprobs, entropy, sumSquares }, () => ({
        lse,
        logprobs,
        ...(entropy && { entropy }),
        ...(sumSquares && { sumSquares }),
      }));
    },

    logprobsBackward(args) {
      const check = new Check("logprobsBackward");
      const rows = rowFields(check, args);
      if (args.dentropy !== undefined && args.entropy === undefined) check.fail("entropy [T] with dentropy", "none");
      const { dlogits, data } = dlogitsFields(check, args, rows);
      return call(
        "logprobs_backward",
        {
          ...rows,
          lse: check.floats("lse", "[T]", args.lse, rows.T),
          entropy: check.optionalFloats("entropy", "[T]", args.entropy, rows.T),
          dlogprobs: check.floats("dlogprobs", "[N]", args.dlogprobs, rows.N),
          dentropy: check.optionalFloats("dentropy", "[T]", args.dentropy, rows.T),
          dlogits: data,
        },
        () => dlogits,
      );
    },

    linearLogprobs(args) {
      const check = new Check("linearLogprobs");
      const head = headFields(check, args, args.bias);
      const lse = check.output("lse", "[T]", args.lse, head.T);
      const logprobs = check.output("logprobs", "[N]", args.logprobs, head.N);
      const entropy = check.requested("entropy", "[T]", args.entropy, head.T);
      return call("linear_logprobs", { ...head, portable, lse, logprobs, entropy }, () => ({
        lse,
        logprobs,
        ...(entropy && { entropy }),
      }));
    },

    linearLogprobsBackward(args) {
      const check = new Check("linearLogprobsBackward");
      const head = headFields(check, args, args.bias ?? args.dbias);
      if (args.dentropy !== undefined && args.entropy === undefined) check.fail("entropy [T] with dentropy", "none");
      return call(
        "linear_logprobs_backward",
        {
          ...head,
          portable,
          lse: check.floats("lse", "[T]", args.lse, head.T),
          logprobs: check.floats("logprobs", "[N]", args.logprobs, head.N),
          entropy: check.optionalFloats("entropy", "[T]", args.entropy, head.T),
          dlogprobs: check.floats("dlogprobs", "[N]", args.dlogprobs, head.N),
          dentropy: check.optionalFloats("dentropy", "[T]", args.dentropy, head.T),
          dhidden: check.optionalFloats("dhidden", "[T, H]", args.dhidden, head.hidden.length),
          dweight: check.optionalFloats("dweight", "[V, H]", args.dweight, head.weight.length),
          dbias: check.optionalFloats("dbias", "[V]", args.dbias, head.V),
        },
        nothing,
      );
    },
  };
}
