/** Plans of credit and loss: the scatter of credits, the KL estimators, the forms of the policy loss, the value loss. */

import { Check } from "../check.ts";
import { call, type KernelPlans } from "./call.ts";
import { clipFields, dppoFields, klFields, runLoss, sequenceFields } from "./loss-fields.ts";

export function lossPlans(): Pick<
  KernelPlans,
  "scatterAdvantages" | "scatterAdvantagesBackward" | "kl" | "policyLoss" | "valueLoss"
> {
  return {
    scatterAdvantages(args) {
      const check = new Check("scatterAdvantages");
      const stepCredits = check.floats("stepCredits", "[S, 2]", args.stepCredits);
      const S = check.rows("stepCredits", "[S, 2]", stepCredits.length, 2);
      const stepOf = check.ints("stepOf", "[N]", args.stepOf);
      check.range("stepOf", "[N]", stepOf, -1, S - 1);
      const advantages = check.output("advantages", "[N, 2]", args.advantages, 2 * stepOf.length);
      return call("scatter_advantages", { N: stepOf.length, S, stepCredits, stepOf, advantages }, () => advantages);
    },

    scatterAdvantagesBackward(args) {
      const check = new Check("scatterAdvantagesBackward");
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

    policyLoss: {
      clip(args) {
        const check = new Check("policyLoss.clip");
        return runLoss("policy_loss_clip", check, args, () => clipFields(check, args));
      },

      sequenceClip(args) {
        const check = new Check("policyLoss.sequenceClip");
        return runLoss("policy_loss_sequence_clip", check, args, (N) => ({
          ...sequenceFields(check, args, N),
          ...clipFields(check, args),
        }));
      },

      gspoToken(args) {
        const check = new Check("policyLoss.gspoToken");
        return runLoss("policy_loss_gspo_token", check, args, (N) => ({
          ...sequenceFields(check, args, N),
          ...clipFields(check, args),
          sequenceLogRatioMax: check.number(
            "sequenceLogRatioMax",
            args.sequenceLogRatioMax ?? Infinity,
            "a number",
            (x) => !Number.isNaN(x),
          ),
        }));
      },

      cispo(args) {
        const check = new Check("policyLoss.cispo");
        return runLoss("policy_loss_cispo", check, args, () => ({
          ratioMin: check.number("ratioMin", args.ratioMin ?? 0, "a number in 0 … 1", (x) => x >= 0 && x <= 1),
          ratioMax: check.number("ratioMax", args.ratioMax, "a number ≥ 1 (a ratio, not an ε)", (x) => x >= 1),
        }));
      },

      sapo(args) {
        const check = new Check("policyLoss.sapo");
        return runLoss("policy_loss_sapo", check, args, () => ({
          tauPositive: check.positive("tauPositive", args.tauPositive),
          tauNegative: check.positive("tauNegative", args.tauNegative),
        }));
      },

      reinforce(args) {
        return runLoss("policy_loss_reinforce", new Check("policyLoss.reinforce"), args, () => ({}));
      },

      dppoTv(args) {
        const check = new Check("policyLoss.dppoTv");
        return runLoss("policy_loss_dppo_tv", check, args, () => dppoFields(check, args));
      },

      dppoKl(args) {
        const check = new Check("policyLoss.dppoKl");
        return runLoss("policy_loss_dppo_kl", check, args, () => dppoFields(check, args));
      },

      gmpo(args) {
        const check = new Check("policyLoss.gmpo");
        return runLoss("policy_loss_gmpo", check, args, (N) => ({
          ...sequenceFields(check, args, N),
          epsLow: check.notNegative("epsLow", args.epsLow),
          epsHigh: check.notNegative("epsHigh", args.epsHigh),
        }));
      },
    },

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
