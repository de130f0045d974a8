/** The corrections that golden vectors of the policy loss ask for, as multipliers of the surrogate. */
import {
  geometricSequenceMask,
  highEntropyMask,
  icepop,
  multiply,
  offPolicySequenceMask,
  outlierSequenceMask,
  sequenceImportance,
  sequenceMaskedImportance,
  tokenMask,
  truncatedImportance,
} from "../corrections.ts";
import { gather, type Layout } from "./layout.ts";
import {
  isRecord,
  optionalNumber,
  requiredNumber,
  UnsupportedVector,
  type GoldenVector,
  type Json,
  type JsonRecord,
} from "./vector.ts";

export interface Corrections {
  /** `[N]` */
  readonly multipliers: Float64Array;
  /** `[N]` 1 on the targets that an entropy mask keeps (all, where there is none) */
  readonly entropyMask: Float64Array;
}

/** Log importance ratios of the sequence-level correction are clamped to ± this by the peer. */
const kOffPolicyLogRatioClamp = 20;

export function correctionsOf(vector: GoldenVector, layout: Layout): Corrections {
  const { inputs, options } = vector;
  const targets = (name: string) => gather(layout, inputs[name], name);
  const ones = new Float64Array(layout.positions.length).fill(1);
  const factors: Float64Array[] = [];

  if (options["is_weights_apply"] === "multiply") factors.push(targets("is_weights"));
  else if (isSet(options["is_weights_apply"]) && options["is_weights_apply"] !== "vespo") {
    throw new UnsupportedVector(`policy_loss/is_weights_apply ${String(options["is_weights_apply"])}`);
  }
  if (isRecord(options["rollout_correction"]))
    factors.push(rolloutCorrection(options["rollout_correction"], layout, targets));
  if (isRecord(options["off_policy_correction"])) {
    const defaults = isRecord(options["off_policy_defaults"]) ? options["off_policy_defaults"] : {};
    factors.push(...offPolicyCorrection({ ...defaults, ...options["off_policy_correction"] }, layout, targets));
  }
  const threshold = optionalNumber(options, "off_policy_mask_threshold");
  if (threshold !== undefined) {
    factors.push(
      offPolicySequenceMask({
        sequenceOffsets: layout.sequenceOffsets,
        logprobs: targets("logp"),
        rolloutLogprobs: targets("rollout_logp"),
        advantages: targets("advantages"),
        threshold,
      }),
    );
  }
  const top = optionalNumber(options, "entropy_quantile");
  const entropyMask = top === undefined ? ones : highEntropyMask({ entropy: targets("entropy"), top });
  return { multipliers: multiply(entropyMask, ...factors), entropyMask };
}

type Targets = (name: string) => Float64Array;

function rolloutCorrection(correction: JsonRecord, layout: Layout, targets: Targets): Float64Array {
  const args = {
    oldLogprobs: targets("old_logp"),
    rolloutLogprobs: targets("rollout_logp"),
    sequenceOffsets: layout.sequenceOffsets,
    low: requiredNumber(correction, "low"),
    high: requiredNumber(correction, "high"),
  };
  switch (correction["type"]) {
    case "tis":
      return truncatedImportance(args);
    case "icepop":
      return icepop(args);
    case "seq-mask-tis":
      return sequenceMaskedImportance(args);
    default:
      throw new UnsupportedVector(`policy_loss/rollout_correction ${String(correction["type"])}`);
  }
}

function offPolicyCorrection(correction: JsonRecord, layout: Layout, targets: Targets): Float64Array[] {
  const args = {
    oldLogprobs: targets("old_logp"),
    rolloutLogprobs: targets("rollout_logp"),
    sequenceOffsets: layout.sequenceOffsets,
    logRatioClamp: kOffPolicyLogRatioClamp,
  };
  const bounds = (name: string) => {
    const [low, high] = [optionalNumber(correction, `${name}_low`), optionalNumber(correction, `${name}_high`)];
    return low === undefined && high === undefined ? undefined : { low: low ?? 0, high: high ?? Infinity };
  };
  const factors: Float64Array[] = [];
  const outliers = bounds("outlier_token_is_threshold");
  if (outliers !== undefined) factors.push(outlierSequenceMask({ ...args, ...outliers }));
  const tokens = bounds("token_mask_is_threshold");
  if (tokens !== undefined) factors.push(tokenMask({ ...args, ...tokens }));

  const truncation = correction["tis_ratio_type"];
  if (truncation === "token") {
    const high = requiredNumber(correction, "token_tis_ratio_clip_high");
    factors.push(truncatedImportance({ ...args, low: 0, high }));
  } else if (truncation === "sequence") {
    factors.push(sequenceImportance({ ...args, cap: requiredNumber(correction, "sequence_tis_ratio_clip_high") }));
  } else if (isSet(truncation)) throw new UnsupportedVector(`policy_loss/tis_ratio_type ${String(truncation)}`);

  const metric = correction["sequence_mask_metric"];
  if (metric === "geometric") {
    const [low, high] = [requiredNumber(correction, "geo_mask_low"), requiredNumber(correction, "geo_mask_high")];
    factors.push(geometricSequenceMask({ ...args, low, high }));
  } else if (isSet(metric)) throw new UnsupportedVector(`policy_loss/sequence_mask_metric ${String(metric)}`);
  return factors;
}

function isSet(value: Json | undefined): boolean {
  return value !== undefined && value !== null;
}
