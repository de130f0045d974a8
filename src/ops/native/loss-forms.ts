/**
 * The forms of the policy loss: what each takes besides its targets. One table serves the losses and the updates that fuse them
 * with the logits.
 */

import type { Check } from "../check.ts";
import type {
  CispoArguments,
  ClipSettings,
  DppoArguments,
  GmpoArguments,
  GspoTokenArguments,
  PolicyLossOps,
  PolicyLossSequenceArguments,
  ReinforceArguments,
  SapoArguments,
  VespoArguments,
} from "../ops.ts";

export interface LossForm<Loss> {
  /** what follows `policy_loss_` and `policy_update_` in the name of a kernel */
  readonly kernel: string;
  /** the fields that the form has besides its targets, from the arguments of its op; N targets */
  fields(check: Check, args: Omit<Loss, "logprobs">, N: number): Readonly<Record<string, unknown>>;
}

type LossForms = { readonly [Form in keyof PolicyLossOps]: LossForm<Parameters<PolicyLossOps[Form]>[0]> };

export const lossForms: LossForms = {
  clip: { kernel: "clip", fields: (check, args) => clipFields(check, args) },
  sequenceClip: {
    kernel: "sequence_clip",
    fields: (check, args: Omit<PolicyLossSequenceArguments, "logprobs">, N) => ({
      ...sequenceFields(check, args, N),
      ...clipFields(check, args),
    }),
  },
  gspoToken: {
    kernel: "gspo_token",
    fields: (check, args: Omit<GspoTokenArguments, "logprobs">, N) => ({
      ...sequenceFields(check, args, N),
      ...clipFields(check, args),
      sequenceLogRatioMax: notNaN(check, "sequenceLogRatioMax", args.sequenceLogRatioMax ?? Infinity),
    }),
  },
  cispo: {
    kernel: "cispo",
    fields: (check, args: Omit<CispoArguments, "logprobs">) => ({
      ratioMin: check.number("ratioMin", args.ratioMin ?? 0, "a number in 0 … 1", (x) => x >= 0 && x <= 1),
      ratioMax: check.number("ratioMax", args.ratioMax, "a number ≥ 1 (a ratio, not an ε)", (x) => x >= 1),
    }),
  },
  sapo: {
    kernel: "sapo",
    fields: (check, args: Omit<SapoArguments, "logprobs">) => ({
      tauPositive: check.positive("tauPositive", args.tauPositive),
      tauNegative: check.positive("tauNegative", args.tauNegative),
    }),
  },
  reinforce: { kernel: "reinforce", fields: (_check, _args: Omit<ReinforceArguments, "logprobs">) => ({}) },
  dppoTv: { kernel: "dppo_tv", fields: dppoFields },
  dppoKl: { kernel: "dppo_kl", fields: dppoFields },
  gmpo: {
    kernel: "gmpo",
    fields: (check, args: Omit<GmpoArguments, "logprobs">, N) => ({
      ...sequenceFields(check, args, N),
      epsLow: check.notNegative("epsLow", args.epsLow),
      epsHigh: check.notNegative("epsHigh", args.epsHigh),
    }),
  },
  vespo: { kernel: "vespo", fields: vespoFields },
};

function clipFields(check: Check, settings: ClipSettings) {
  return {
    epsLow: check.number("epsLow", settings.epsLow, "a number in 0 … 1", (x) => x >= 0 && x <= 1),
    epsHigh: check.notNegative("epsHigh", settings.epsHigh),
    delta: check.number("delta", settings.delta ?? Infinity, "a number > 0", (x) => x > 0),
    dualClip: check.number("dualClip", settings.dualClip ?? Infinity, "a number > 1", (x) => x > 1),
  };
}

function dppoFields(check: Check, args: Omit<DppoArguments, "logprobs">) {
  return {
    epsLow: check.notNegative("epsLow", args.epsLow),
    epsHigh: check.notNegative("epsHigh", args.epsHigh),
    ratioCap: check.number("ratioCap", args.ratioCap ?? Infinity, "a number > 0", (x) => x > 0),
  };
}

function vespoFields(check: Check, args: Omit<VespoArguments, "logprobs">, N: number) {
  const finite = (name: string, value: number): number =>
    check.number(name, value, "a finite number ≥ 0", (x) => x >= 0 && x < Infinity);
  const sequences = sequenceFields(check, args, N);
  const logWeightMin = notNaN(check, "logWeightMin", args.logWeightMin ?? Math.log(1e-8));
  return {
    ...sequences,
    kPositive: finite("kPositive", args.kPositive),
    lambdaPositive: finite("lambdaPositive", args.lambdaPositive),
    kNegative: finite("kNegative", args.kNegative),
    lambdaNegative: finite("lambdaNegative", args.lambdaNegative),
    tokenLogRatioMax: check.notNegative("tokenLogRatioMax", args.tokenLogRatioMax ?? 20),
    logWeightMin,
    logWeightMax: check.number(
      "logWeightMax",
      args.logWeightMax ?? 20,
      `a number ≥ logWeightMin = ${logWeightMin}`,
      (x) => x >= logWeightMin,
    ),
    logWeights: check.optionalFloats("logWeights", "[B]", args.logWeights, sequences.B),
  };
}

function notNaN(check: Check, name: string, value: number): number {
  return check.number(name, value, "a number", (x) => !Number.isNaN(x));
}

function sequenceFields(check: Check, args: { readonly sequenceOffsets: Int32Array }, N: number) {
  const sequenceOffsets = check.offsets("sequenceOffsets", "[B + 1]", args.sequenceOffsets, N);
  return { B: sequenceOffsets.length - 1, sequenceOffsets };
}
