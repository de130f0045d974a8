/**
 * The surrogates that golden vectors name, as an op of this library and what the vector's numbers make of its arguments. A form
 * that drops tokens by a constant rule is another form with masked advantages or multipliers.
 */
import { icepop, multiply } from "../corrections.ts";
import type { Floats, Ops, PolicyLossResult, ReinforceArguments } from "../ops/ops.ts";
import { binaryKlMask, clippedCovarianceMask, movementMask, totalVariationMask } from "../surrogate-masks.ts";
import { gather, type Layout } from "./layout.ts";
import {
  floats,
  optionalNumber,
  requiredNumber,
  rows,
  UnsupportedVector,
  type GoldenVector,
  type JsonRecord,
  type Precision,
} from "./vector.ts";

export interface Surrogate {
  readonly args: ReinforceArguments;
  run(args: ReinforceArguments, sequenceOffsets: Int32Array): PolicyLossResult;
  /** `[N]` 0 where a mask drops the surrogate; absent where the op itself decides */
  readonly kept?: Float64Array;
}

/** The bounds between which nothing is clipped: −A · ratio. */
const kUnclipped = { epsLow: 1, epsHigh: Infinity };

/** Log of the sequence ratio at which the peer of `gspo_token` stops ("max10"). */
const kGspoLogRatioMax = 10;

/** `shared` holds what does not depend on the surrogate. */
export function surrogateOf(
  vector: GoldenVector,
  layout: Layout,
  ops: Ops,
  precision: Precision,
  shared: ReinforceArguments,
): Surrogate {
  const { options } = vector;
  const { policyLoss } = ops;
  const bounds = () => ({ epsLow: requiredNumber(options, "eps_low"), epsHigh: requiredNumber(options, "eps_high") });
  const unclipped = (args: ReinforceArguments) => policyLoss.clip({ ...args, ...kUnclipped });
  const movement = { logprobs: shared.logprobs, anchorLogprobs: shared.oldLogprobs };
  const masked = (name: "advantages" | "multipliers", mask: Float64Array): ReinforceArguments => ({
    ...shared,
    [name]: floats(precision, multiply(shared[name] ?? mask.map(() => 1), mask)),
  });
  const name = options["surrogate"];
  switch (name) {
    case "ppo_clip": {
      const settings = clipSettings(options);
      if (options["ratio_level"] === "token")
        return { args: shared, run: (args) => policyLoss.clip({ ...args, ...settings }) };
      if (options["ratio_level"] !== "sequence")
        throw new UnsupportedVector(`policy_loss/ratio_level ${String(options["ratio_level"])}`);
      return {
        args: shared,
        run: (args, sequenceOffsets) => policyLoss.sequenceClip({ ...args, ...settings, sequenceOffsets }),
      };
    }
    case "gspo_token": {
      const settings = { ...clipSettings(options), sequenceLogRatioMax: kGspoLogRatioMax };
      return {
        args: shared,
        run: (args, sequenceOffsets) => policyLoss.gspoToken({ ...args, ...settings, sequenceOffsets }),
      };
    }
    case "cispo": {
      const { epsLow, epsHigh } = bounds();
      const ratios = { ratioMin: 1 - epsLow, ratioMax: 1 + epsHigh };
      return { args: shared, run: (args) => policyLoss.cispo({ ...args, ...ratios }) };
    }
    case "cispo_upper_abs": {
      const ratioMax = requiredNumber(options, "eps_high");
      return { args: shared, run: (args) => policyLoss.cispo({ ...args, ratioMax }) };
    }
    case "sapo": {
      const tauPositive = requiredNumber(options, "tau_pos");
      const tauNegative = requiredNumber(options, "tau_neg");
      return { args: shared, run: (args) => policyLoss.sapo({ ...args, tauPositive, tauNegative }) };
    }
    case "reinforce":
      return { args: shared, run: (args) => policyLoss.reinforce(args) };
    case "dro":
      return {
        args: withSquaredLogRatio(shared, requiredNumber(options, "dro_beta") / 2),
        run: (args) => policyLoss.reinforce(args),
      };
    case "dppo_tv":
    case "dppo_kl": {
      const settings = { ...bounds(), ratioCap: optionalNumber(options, "ratio_cap") ?? Infinity };
      const form = name === "dppo_tv" ? policyLoss.dppoTv : policyLoss.dppoKl;
      return { args: shared, run: (args) => form({ ...args, ...settings }) };
    }
    case "dppo_ratio_tv":
    case "dppo_ratio_kl": {
      const mask = name === "dppo_ratio_tv" ? totalVariationMask : binaryKlMask;
      const kept = mask({ ...movement, advantages: shared.advantages, ...bounds() });
      return { args: masked("advantages", kept), run: unclipped, kept };
    }
    case "icepop_reinforce": {
      const { epsLow, epsHigh } = bounds();
      const ratios = icepop({
        oldLogprobs: shared.logprobs,
        rolloutLogprobs: shared.oldLogprobs,
        logRatioClamp: optionalNumber(options, "log_ratio_clamp") ?? Infinity,
        low: 1 - epsLow,
        high: 1 + epsHigh,
      });
      return { args: masked("multipliers", ratios), run: (args) => policyLoss.reinforce(args), kept: ratios };
    }
    case "vespo": {
      const settings = {
        kPositive: requiredNumber(options, "k_pos"),
        lambdaPositive: requiredNumber(options, "lambda_pos"),
        kNegative: requiredNumber(options, "k_neg"),
        lambdaNegative: requiredNumber(options, "lambda_neg"),
        ...(options["is_weights_apply"] === "vespo" && { logWeights: logWeights(vector, layout, precision) }),
      };
      return {
        args: shared,
        run: (args, sequenceOffsets) => policyLoss.vespo({ ...args, ...settings, sequenceOffsets }),
      };
    }
    case "gmpo": {
      const settings = bounds();
      return {
        args: shared,
        run: (args, sequenceOffsets) => policyLoss.gmpo({ ...args, ...settings, sequenceOffsets }),
      };
    }
    case "clip_cov": {
      if (requiredNumber(options, "clip_cov_ratio") !== 1)
        throw new UnsupportedVector("policy_loss/clip_cov with a draw");
      const kept = clippedCovarianceMask({
        logprobs: shared.logprobs,
        oldLogprobs: shared.oldLogprobs,
        advantages: shared.advantages,
        ...bounds(),
        low: requiredNumber(options, "clip_cov_lb"),
        high: requiredNumber(options, "clip_cov_ub"),
      });
      const settings = clipSettings(options);
      return { args: masked("multipliers", kept), run: (args) => policyLoss.clip({ ...args, ...settings }), kept };
    }
    case "kl_cov":
      return { args: shared, run: unclipped };
    case "prime_dppo": {
      const kept = totalVariationMask({
        ...movement,
        advantages: shared.advantages,
        epsLow: requiredNumber(options, "dppo_mask_low"),
        epsHigh: requiredNumber(options, "dppo_mask_high"),
      });
      return { args: prime(masked("advantages", kept), vector, layout, precision), run: unclipped };
    }
    case "prime_ipo": {
      const threshold = requiredNumber(options, "ipo_threshold");
      const kept = movementMask({ ...movement, epsLow: threshold, epsHigh: threshold });
      return { args: prime(masked("multipliers", kept), vector, layout, precision), run: unclipped };
    }
    case "prime_ref_kl": {
      const reference = gather(layout, vector.inputs["ref_logp"], "ref_logp");
      const kept = movementMask({ ...movement, epsLow: requiredNumber(options, "mask_low"), epsHigh: Infinity });
      const advantages = floats(
        precision,
        reference.map((logprob, n) => logprob - shared.logprobs[n]),
      );
      return { args: prime({ ...masked("multipliers", kept), advantages }, vector, layout, precision), run: unclipped };
    }
    default:
      throw new UnsupportedVector(`policy_loss/${String(name)}`);
  }
}

/** `[B]` Σ ln of a sequence's importance weights, each held between ln 1e−8 and 20. */
function logWeights({ inputs }: GoldenVector, layout: Layout, precision: Precision): Floats {
  const weights = rows(inputs["is_weights"], "is_weights");
  if (weights.length !== layout.sequences) throw new Error(`expected a row of is_weights for every sequence`);
  const held = (weight: number) => Math.min(Math.max(Math.log(weight), Math.log(1e-8)), 20);
  return floats(
    precision,
    weights.map((row) => row.reduce((sum, weight) => sum + held(weight), 0)),
  );
}

function clipSettings(options: JsonRecord) {
  const delta = optionalNumber(options, "delta");
  const dualClip = optionalNumber(options, "dual_clip");
  return {
    epsLow: requiredNumber(options, "eps_low"),
    epsHigh: requiredNumber(options, "eps_high"),
    ...(delta === undefined ? {} : { delta }),
    ...(dualClip === undefined ? {} : { dualClip }),
  };
}

/** Adds coefficient · x² with x the log ratio: a k2 estimate, x² / 2, against the old policy. */
function withSquaredLogRatio(args: ReinforceArguments, coefficient: number): ReinforceArguments {
  return { ...args, refLogprobs: args.oldLogprobs, kl: { estimator: "k2", coefficient: 2 * coefficient } };
}

/** What the three losses of this peer share: a scale of the advantages, the squared log ratio, and weights per token. */
function prime(
  args: ReinforceArguments,
  vector: GoldenVector,
  layout: Layout,
  precision: Precision,
): ReinforceArguments {
  const scale = optionalNumber(vector.options, "adv_tau") ?? 1;
  const tokenWeights = vector.inputs["token_weights"];
  const product = (values: Floats, factors: Floats) =>
    floats(
      precision,
      values.map((value, n) => value * factors[n]),
    );
  return {
    ...withSquaredLogRatio(args, requiredNumber(vector.options, "kl_tau")),
    advantages: floats(
      precision,
      args.advantages.map((A) => scale * A),
    ),
    ...(tokenWeights === undefined
      ? {}
      : { weights: product(args.weights, gather(layout, tokenWeights, "token_weights")) }),
  };
}
