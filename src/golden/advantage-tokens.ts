/** Vectors of advantages that differ from token to token. */
import {
  gae,
  gdpo,
  optimalTokenBaseline,
  reinforcePlusPlus,
  reinforcePlusPlusBaseline,
  remax,
  returnToGo,
  tokenRewards,
  whiten,
  type WhitenOptions,
} from "../advantages/index.ts";
import { grpo, rloo } from "../trajectory/index.ts";
import { consecutiveGroups, groupIds, outcomesOf, singletonOf } from "./advantage-inputs.ts";
import {
  flatten,
  isRecord,
  optionalNumber,
  requiredNumber,
  rows,
  UnsupportedVector,
  type Computed,
  type GoldenVector,
  type JsonRecord,
} from "./vector.ts";

const kEstimators = {
  reinforce_pp: reinforce,
  reinforce_pp_baseline: reinforceBaseline,
  reinforce_pp_returns_ragged: raggedReturns,
  gdpo: decoupled,
  remax: greedyBaseline,
  gae: generalised,
  otb: tokenBaseline,
  openrlhf_reinforce: shaped,
  openrlhf_rloo: shaped,
  openrlhf_reinforce_baseline: shaped,
  openrlhf_group_norm: shaped,
  openrlhf_grpo: shaped,
  openrlhf_dr_grpo: shaped,
  openrlhf_gae: shaped,
} satisfies Record<string, (vector: GoldenVector) => Computed>;

export type TokenEstimator = keyof typeof kEstimators;

export function isTokenEstimator(estimator: string): estimator is TokenEstimator {
  return Object.hasOwn(kEstimators, estimator);
}

export function tokenAdvantages(estimator: TokenEstimator, vector: GoldenVector): Computed {
  return kEstimators[estimator](vector);
}

/** All positions are tokens, masked ones included. */
function layoutOf({ inputs }: GoldenVector): { sequenceOffsets: Int32Array; mask: number[] } {
  const mask = rows(inputs["mask"], "mask");
  const sequenceOffsets = new Int32Array(mask.length + 1);
  mask.forEach((row, b) => (sequenceOffsets[b + 1] = sequenceOffsets[b] + row.length));
  return { sequenceOffsets, mask: mask.flat() };
}

function array({ inputs }: GoldenVector, name: string): number[] {
  return flatten(inputs[name], name);
}

function whitenOptions(options: JsonRecord): WhitenOptions | undefined {
  const settings = options["whiten"];
  if (settings === undefined || settings === null) return undefined;
  if (!isRecord(settings)) throw new Error("expected option whiten to be an object");
  const ddof = requiredNumber(settings, "ddof");
  if (ddof !== 0 && ddof !== 1) throw new UnsupportedVector(`advantage/whiten with ddof ${ddof}`);
  const floor = /^max\(var, *(.+)\)$/.exec(String(settings["eps"]));
  if (floor !== null) return { ddof, eps: 0, minVariance: Number(floor[1]) };
  return { ddof, eps: requiredNumber(settings, "eps") };
}

/** What the mask does to a return that passes through it, in the words of the vectors. */
function observation(options: JsonRecord): "carry" | "reset" | "none" {
  const value = options["observation"];
  if (value === "carry" || value === "reset" || value === "none") return value;
  throw new UnsupportedVector(`advantage/${String(options["estimator"])} with observation ${String(value)}`);
}

function reinforce(vector: GoldenVector): Computed {
  const { options } = vector;
  const masked = observation(options);
  if (masked === "none") throw new UnsupportedVector("advantage/reinforce_pp with observation none");
  const gamma = requiredNumber(options, "gamma");
  const args = { ...layoutOf(vector), rewards: array(vector, "token_rewards"), gamma, masked };
  const { advantages, returns } = reinforcePlusPlus({ ...args, whiten: whitenOptions(options) ?? {} });
  return { values: { advantages, returns } };
}

function reinforceBaseline(vector: GoldenVector): Computed {
  const { inputs, options } = vector;
  const advantages = reinforcePlusPlusBaseline({
    ...layoutOf(vector),
    outcomes: outcomesOf(vector),
    groups: groupIds(inputs["group"], "group"),
    singleton: singletonOf(options),
    whiten: whitenOptions(options) ?? {},
  });
  return { values: { advantages } };
}

function raggedReturns(vector: GoldenVector): Computed {
  const layout = layoutOf(vector);
  const klCoef = requiredNumber(vector.options, "kl_coef");
  const rewards = tokenRewards({ ...layout, rewards: array(vector, "rewards"), kl: array(vector, "kl"), klCoef });
  const gamma = requiredNumber(vector.options, "gamma");
  return { values: { returns: returnToGo({ ...layout, rewards, gamma, masked: "discount" }) } };
}

function decoupled(vector: GoldenVector): Computed {
  const { inputs, options } = vector;
  const advantages = gdpo({
    ...layoutOf(vector),
    rewards: outcomesOf(vector),
    weights: [1],
    groups: groupIds(inputs["group"], "group"),
    std: options["std"] === true,
    eps: requiredNumber(options, "eps"),
    ddof: requiredNumber(options, "ddof"),
    singleton: singletonOf(options),
    whiten: whitenOptions(options) ?? {},
  });
  return { values: { advantages } };
}

function greedyBaseline(vector: GoldenVector): Computed {
  const rewards = array(vector, "token_rewards");
  return { values: { ...remax({ ...layoutOf(vector), rewards, baselines: array(vector, "baselines") }) } };
}

function generalised(vector: GoldenVector): Computed {
  const { options } = vector;
  const { mask, sequenceOffsets } = layoutOf(vector);
  const passing = observation(options);
  if (passing === "reset") throw new UnsupportedVector("advantage/gae with observation reset");
  const { advantages, returns } = gae({
    sequenceOffsets,
    ...(passing === "none" ? {} : { mask }),
    rewards: array(vector, "token_rewards"),
    values: array(vector, "values"),
    gamma: requiredNumber(options, "gamma"),
    lambda: requiredNumber(options, "lam"),
  });
  const whitening = whitenOptions(options);
  return {
    values: { advantages: whitening === undefined ? advantages : whiten(advantages, { ...whitening, mask }), returns },
    compared: {
      ...(whitening === undefined && passing === "none" ? {} : { advantages: mask }),
      ...(passing === "none" ? {} : { returns: mask }),
    },
  };
}

function tokenBaseline(vector: GoldenVector): Computed {
  const { inputs, options } = vector;
  const weights = inputs["is_weights"];
  const result = optimalTokenBaseline({
    ...layoutOf(vector),
    rewards: array(vector, "token_rewards"),
    oldLogprobs: array(vector, "old_logp"),
    sumPiSquared: array(vector, "sum_pi_squared"),
    ...(weights === undefined || weights === null ? {} : { importanceWeights: flatten(weights, "is_weights") }),
    groups: groupIds(inputs["group"], "group"),
    eps: requiredNumber(options, "eps"),
    zeroTail: options["handle_zero_tail"] === true,
  });
  return { values: { ...result } };
}

/** A reward shaped within its group and placed at the last token, a KL penalty at every token, then returns or GAE. */
function shaped(vector: GoldenVector): Computed {
  const { inputs, options } = vector;
  const estimator = options["estimator"] as TokenEstimator;
  const layout = layoutOf(vector);
  const { mask } = layout;
  const outcomes = array(vector, "rewards");
  const groups = consecutiveGroups(outcomes.length, options);
  const spread = { eps: requiredNumber(options, "eps"), ddof: requiredNumber(options, "ddof") };
  const shapedOutcomes = (): ArrayLike<number> => {
    if (estimator === "openrlhf_rloo") return rloo({ outcomes, groups });
    if (estimator === "openrlhf_group_norm" || estimator === "openrlhf_grpo")
      return grpo({ outcomes, groups, ...spread });
    if (estimator === "openrlhf_reinforce" || estimator === "openrlhf_gae") return outcomes;
    return grpo({ outcomes, groups, std: false });
  };
  const klCoef = requiredNumber(options, "kl_coef");
  const rewards = tokenRewards({ ...layout, rewards: shapedOutcomes(), kl: array(vector, "kl"), klCoef });
  const args = { ...layout, rewards, gamma: requiredNumber(options, "gamma"), masked: "discount" } as const;
  const raw = (() => {
    if (estimator === "openrlhf_gae") {
      return gae({ ...args, values: flatten(inputs["values"], "values"), lambda: optionalNumber(options, "lam") ?? 1 });
    }
    const returns = returnToGo(args);
    return { advantages: returns, returns };
  })();
  const whitening = whitenOptions(options);
  const advantages = whitening === undefined ? raw.advantages : whiten(raw.advantages, { ...whitening, mask });
  return {
    values: { token_rewards: rewards, advantages, returns: raw.returns },
    compared: { token_rewards: mask, advantages: mask, returns: mask },
  };
}
