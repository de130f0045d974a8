/** The names that golden vectors give to normalisers, and the vectors that test a normaliser alone. */
import {
  constantDenominator,
  lengthUnbiasedMean,
  microbatchTokenMean,
  promptMean,
  sequenceMeanTokenMean,
  sequenceMeanTokenSum,
  sequenceMeanTokenSumNorm,
  tokenMean,
  tokenSum,
  type Normaliser,
} from "../normaliser.ts";
import type { Ops } from "../ops/ops.ts";
import { gather, layoutOf, spread, type Layout } from "./layout.ts";
import {
  flatten,
  floats,
  optionalNumber,
  requiredNumber,
  rows,
  UnsupportedVector,
  type Computed,
  type GoldenVector,
  type Json,
  type JsonRecord,
  type Precision,
} from "./vector.ts";

/** The normaliser that `mode` and its options ask for. */
export function normaliserOf(mode: Json | undefined, options: JsonRecord, layout: Layout): Normaliser {
  const { sequenceOffsets, rowOffsets, sequences } = layout;
  const lossDivisor = optionalNumber(options, "loss_divisor") ?? 1;
  const processes = optionalNumber(options, "dp_size") ?? 1;
  const globalTokens = optionalNumber(options, "global_tokens");
  const globalSequences = optionalNumber(options, "global_sequences");
  const sequenceMean = {
    lossDivisor,
    processes,
    emptySequences: options["empty_sequences"] === "excluded" ? "excluded" : "counted",
    ...(globalSequences === undefined ? {} : { globalSequences }),
  } as const;
  switch (mode) {
    case "token_mean":
      return tokenMean(sequenceOffsets, {
        lossDivisor,
        processes,
        ...(globalTokens === undefined ? {} : { globalTokens }),
      });
    case "token_mean_global":
      return tokenMean(sequenceOffsets, { lossDivisor, globalTokens: requiredNumber(options, "global_tokens") });
    case "token_sum":
      return tokenSum(sequenceOffsets, { lossDivisor, processes });
    case "constant":
      return constantDenominator(sequenceOffsets, { lossDivisor, constant: requiredNumber(options, "constant") });
    case "seq_mean_token_mean":
      return sequenceMeanTokenMean(sequenceOffsets, sequenceMean);
    case "seq_mean_token_sum":
      return sequenceMeanTokenSum(sequenceOffsets, sequenceMean);
    case "seq_mean_token_sum_norm":
      return sequenceMeanTokenSumNorm(sequenceOffsets, {
        ...sequenceMean,
        constant: requiredNumber(options, "constant"),
      });
    case "prompt_mean":
      return promptMean(sequenceOffsets, { lossDivisor, promptOffsets: promptOffsets(options["prompt_boundaries"]) });
    case "microbatch_token_mean":
      return microbatchTokenMean(sequenceOffsets, {
        lossDivisor,
        sequencesPerMicrobatch: requiredNumber(options, "microbatch"),
      });
    case "luspo": {
      if (options["ratio_level"] === "sequence") return lengthUnbiasedMean(sequenceOffsets, { lossDivisor });
      return lengthUnbiasedMean(sequenceOffsets, { lossDivisor, width: rowOffsets[sequences] / sequences });
    }
    default:
      throw new UnsupportedVector(`aggregation/${String(mode)}`);
  }
}

/** A vector that holds per-token losses; a ratio of 1 and advantages −loss make the loss op sum them by weight. */
export function computeAggregate(vector: GoldenVector, ops: Ops, precision: Precision): Computed {
  const layout = layoutOf(rows(vector.inputs["mask"], "mask"));
  const { weights } = normaliserOf(vector.options["aggregation"], vector.options, layout);
  const zeros = floats(precision, new Float64Array(weights.length));
  const { metrics } = ops.policyLoss.clip({
    logprobs: zeros,
    oldLogprobs: zeros,
    advantages: floats(
      precision,
      gather(layout, vector.inputs["loss"], "loss").map((loss) => -loss),
    ),
    weights: floats(precision, weights),
    epsLow: 0.5,
    epsHigh: 0.5,
    dlogprobs: floats(precision, zeros),
  });
  return { values: { value: metrics.loss, grad_loss: spread(layout, weights) } };
}

function promptOffsets(boundaries: Json | undefined): Int32Array {
  const pairs = rows(boundaries, "prompt_boundaries");
  const flat = flatten(boundaries, "prompt_boundaries");
  const gaps = pairs.some(([start], prompt) => start !== (prompt === 0 ? 0 : pairs[prompt - 1][1]));
  if (gaps || flat.length !== 2 * pairs.length) throw new UnsupportedVector("aggregation/prompt_mean with gaps");
  return Int32Array.of(0, ...pairs.map(([, end]) => end));
}
