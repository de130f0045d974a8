/** Plans of the optimizer ops. */

import { Check } from "../check.ts";
import { call, nothing, type KernelPlans } from "./call.ts";

export function optimizerPlans(): Pick<KernelPlans, "gradNorm" | "adamw"> {
  return {
    gradNorm(args) {
      const grads = new Check("gradNorm").floats("grads", "[count]", args.grads);
      const norm = new Float64Array(1);
      return call("grad_norm", { count: grads.length, grads, norm }, () => norm[0]);
    },

    adamw(args) {
      const check = new Check("adamw");
      const params = check.floats("params", "[count]", args.params);
      const count = params.length;
      const fraction = (field: string, value: number): number =>
        check.number(field, value, "a number in 0 … 1, 1 excluded", (x) => x >= 0 && x < 1);
      return call(
        "adamw",
        {
          count,
          step: check.integer("step", args.step, 1),
          lr: check.notNegative("lr", args.lr),
          beta1: fraction("beta1", args.beta1),
          beta2: fraction("beta2", args.beta2),
          eps: check.notNegative("eps", args.eps),
          weightDecay: check.notNegative("weightDecay", args.weightDecay),
          gradScale: check.number("gradScale", args.gradScale, "a finite number", Number.isFinite),
          grads: check.floats("grads", "[count]", args.grads, count),
          params,
          m: check.floats("m", "[count]", args.m, count),
          v: check.floats("v", "[count]", args.v, count),
        },
        nothing,
      );
    },
  };
}
