/** Vectors of advantages, by their estimator. */
import {
  decoupledRewards,
  gigpo,
  gpg,
  maxrl,
  opo,
  passAtK,
  weightedRewards,
  zeroDeviationFraction,
} from "../advantages/index.ts";
import type { Ops } from "../ops/ops.ts";
import { grpo, rloo } from "../trajectory/index.ts";
import { consecutiveGroups, groupIds, outcomesOf, singletonOf } from "./advantage-inputs.ts";
import { isTokenEstimator, tokenAdvantages } from "./advantage-tokens.ts";
import { scatter } from "./scatter.ts";
import {
  flatten,
  optionalNumber,
  requiredNumber,
  rows,
  UnsupportedVector,
  type Computed,
  type GoldenVector,
  type Precision,
} from "./vector.ts";

export function computeAdvantage(vector: GoldenVector, ops: Ops, precision: Precision): Computed {
  const estimator = String(vector.options["estimator"]);
  if (estimator === "grpo_trl") return multiRewardAdvantages(vector);
  if (estimator === "rloo_trl") return { values: { sequence_advantages: leaveOneOut(vector) } };
  if (isTokenEstimator(estimator)) return tokenAdvantages(estimator, vector);
  const mask = rows(vector.inputs["mask"], "mask");
  const stepOf = mask.flatMap((row, b) => row.map((valid) => (valid === 0 ? -1 : b)));
  return { values: { advantages: scatter(ops, precision, sequenceAdvantages(estimator, vector), stepOf) } };
}

/** One number per row. */
function sequenceAdvantages(estimator: string, vector: GoldenVector): Float64Array {
  const { inputs, options } = vector;
  const outcomes = outcomesOf(vector);
  const args = { outcomes, groups: groupIds(inputs["group"], "group"), singleton: singletonOf(options) };
  const spread = () => ({
    std: options["std"] === true,
    eps: requiredNumber(options, "eps"),
    ddof: requiredNumber(options, "ddof"),
  });
  switch (estimator) {
    case "grpo":
      return grpo({ ...args, ...spread() });
    case "rloo":
      return rloo(args);
    case "opo": {
      const lengths = rows(inputs["mask"], "mask").map((row) => row.filter((valid) => valid !== 0).length);
      return opo({ ...args, lengths });
    }
    case "gpg":
      return gpg({ ...args, norm: optionalNumber(options, "f_norm") ?? 1 });
    case "maxrl":
      return maxrl({ ...args, eps: requiredNumber(options, "eps") });
    case "grpo_passk":
      return passAtK({ ...args, ...spread() });
    case "gigpo":
      return gigpo({
        ...spread(),
        episodeRewards: outcomes,
        stepRewards: flatten(inputs["step_rewards"], "step_rewards"),
        groups: args.groups,
        trajectories: groupIds(inputs["trajectory"], "trajectory"),
        anchors: groupIds(inputs["anchor"], "anchor"),
        stepWeight: requiredNumber(options, "step_weight"),
      });
    default:
      throw new UnsupportedVector(`advantage/${estimator}`);
  }
}

/** Several rewards per row, NaN where one does not apply; groups of one get 0. */
function multiRewardAdvantages({ inputs, options }: GoldenVector): Computed {
  const args = {
    rewards: flatten(inputs["rewards_per_func"], "rewards_per_func"),
    weights: flatten(inputs["reward_weights"], "reward_weights"),
  };
  const spread = {
    eps: requiredNumber(options, "eps"),
    ddof: requiredNumber(options, "ddof"),
    singleton: "zero",
  } as const;
  const groups = consecutiveGroups(args.rewards.length / args.weights.length, options);
  const scale = options["scale"];
  const result = (outcomes: Float64Array, advantages: Float64Array, compared?: number[]): Computed => ({
    values: {
      sequence_advantages: advantages,
      frac_zero_std: zeroDeviationFraction({ outcomes, ...(compared === undefined ? {} : { groups: compared }) }),
    },
  });
  switch (options["multi_reward"]) {
    case "sum_then_normalize": {
      if (scale !== "group" && scale !== "batch" && scale !== "none") {
        throw new UnsupportedVector(`advantage/grpo_trl with scale ${String(scale)}`);
      }
      const outcomes = weightedRewards(args);
      const std = scale === "group" ? true : scale === "batch" ? "batch" : false;
      return result(outcomes, grpo({ outcomes, groups, std, ...spread }), scale === "batch" ? undefined : groups);
    }
    case "normalize_then_sum": {
      const outcomes = decoupledRewards({ ...args, groups, ...spread });
      return result(outcomes, grpo({ outcomes, ...spread }));
    }
    default:
      throw new UnsupportedVector(`advantage/grpo_trl with ${String(options["multi_reward"])}`);
  }
}

function leaveOneOut({ inputs, options }: GoldenVector): Float64Array {
  const outcomes = flatten(inputs["rewards"], "rewards");
  return rloo({
    outcomes,
    groups: consecutiveGroups(outcomes.length, options),
    singleton: "zero",
    normalise: options["normalize"] === true,
    eps: optionalNumber(options, "eps") ?? 1e-4,
    ddof: optionalNumber(options, "ddof") ?? 1,
  });
}
