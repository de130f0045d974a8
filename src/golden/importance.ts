/** Vectors of importance weights between rollout and training policy, and of the masks that reject what differs too much. */
import {
  icepop,
  rejectionMask,
  sequenceIcepop,
  sequenceImportance,
  truncatedImportance,
  unitMean,
  type RejectionArguments,
} from "../corrections.ts";
import { gather, layoutOf, spread, type Layout } from "./layout.ts";
import { optionalNumber, requiredNumber, rows, UnsupportedVector, type Computed, type GoldenVector } from "./vector.ts";

const kLevels: Readonly<Record<string, RejectionArguments["level"]>> = {
  token: "token",
  seq_sum: "sequenceSum",
  seq_mean: "sequenceMean",
  seq_max: "sequenceMax",
};

export function computeImportanceWeights(vector: GoldenVector): Computed {
  const { options } = vector;
  const layout = layoutOf(rows(vector.inputs["mask"], "mask"));
  const weights = importanceWeights(vector, layout);
  const normalised =
    options["batch_normalize"] !== true
      ? weights
      : unitMean(weights, options["level"] === "sequence" ? { sequenceOffsets: layout.sequenceOffsets } : {});
  return { values: { weights: spread(layout, normalised) } };
}

export function computeRejectionMask(vector: GoldenVector): Computed {
  const { options } = vector;
  const layout = layoutOf(rows(vector.inputs["mask"], "mask"));
  const [, level, divergence] =
    /^(token|seq_sum|seq_mean|seq_max)_(k1|k2|k3)$/.exec(String(options["statistic"])) ?? [];
  if (level === undefined) throw new UnsupportedVector(`rejection_mask/${String(options["statistic"])}`);
  const low = optionalNumber(options, "lower");
  const keep = rejectionMask({
    ...mismatch(vector, layout),
    logRatioClamp: requiredNumber(options, "log_ratio_clamp"),
    level: kLevels[level],
    divergence: divergence as RejectionArguments["divergence"],
    high: requiredNumber(options, "upper"),
    ...(low === undefined ? {} : { low }),
  });
  const dropped = keep.filter((kept) => kept === 0).length;
  return { values: { mask: spread(layout, keep), masked_fraction: dropped / Math.max(1, keep.length) } };
}

function importanceWeights(vector: GoldenVector, layout: Layout): Float64Array {
  const { options } = vector;
  const clamp = requiredNumber(options, "log_ratio_clamp");
  const cap = requiredNumber(options, "upper");
  const low = optionalNumber(options, "lower");
  const args = mismatch(vector, layout);
  const variant = `${String(options["level"])} ${String(options["mode"])}`;
  switch (variant) {
    case "token truncate":
      return truncatedImportance({ ...args, low: 0, high: cap, logRatioClamp: clamp });
    case "token icepop":
      return icepop({ ...args, low: low ?? 0, high: cap, logRatioClamp: clamp });
    case "sequence truncate":
      return sequenceImportance({ ...args, cap, logProductClamp: clamp });
    case "sequence icepop":
      return sequenceIcepop({ ...args, low: low ?? 0, high: cap, logProductClamp: clamp });
    default:
      throw new UnsupportedVector(`is_weights/${variant}`);
  }
}

function mismatch({ inputs }: GoldenVector, layout: Layout) {
  const oldLogprobs = gather(layout, inputs["log_ratio"], "log_ratio");
  return {
    oldLogprobs,
    rolloutLogprobs: new Float64Array(oldLogprobs.length),
    sequenceOffsets: layout.sequenceOffsets,
  };
}
