/** REINFORCE without a critic: REINFORCE++ in its two forms, and ReMax. */
import { grpo, type AdvantageArguments } from "../trajectory/index.ts";
import { returnToGo, type AdvantagesAndReturns, type ReturnArguments } from "./returns.ts";
import { checkLayout, isMasked, perToken, type TokenLayout } from "./tokens.ts";
import { whiten, type WhitenOptions } from "./whiten.ts";

/**
 * Returns, and advantages A = whiten(returns) over all tokens of the batch. Rewards per token may hold a penalty, as
 * `tokenRewards` lays it out. NaN returns (an unverified sequence) take no part and get the advantage 0.
 * Source: Hu et al. 2025, arXiv:2501.03262 (REINFORCE++).
 */
export function reinforcePlusPlus(args: ReturnArguments & { readonly whiten?: WhitenOptions }): AdvantagesAndReturns {
  const returns = returnToGo(args);
  return { returns, advantages: whiten(returns, { ...args.whiten, mask: args.mask }) };
}

/**
 * `[N]` A = whiten(r − mean_g) at every token of a rollout. Unverified rollouts and masked tokens take no part and get 0.
 * Source: Hu et al. 2025, arXiv:2501.03262 (REINFORCE++-baseline).
 */
export function reinforcePlusPlusBaseline(
  args: AdvantageArguments & TokenLayout & { readonly whiten?: WhitenOptions },
): Float64Array {
  const { outcomes } = args;
  const centred = grpo({ ...args, std: false }).map((a, b) => (Number.isNaN(outcomes[b]) ? Number.NaN : a));
  return whiten(perToken({ ...args, values: centred }), { ...args.whiten, mask: args.mask });
}

/**
 * A = G − baseline, with G the undiscounted return and one baseline per sequence: the reward of a greedy rollout of the same
 * problem. An unverified return or baseline gives 0. Source: Li et al. 2023, arXiv:2310.10505 (ReMax).
 *
 * @param args.rewards `[N]`
 * @param args.baselines `[B]`
 */
export function remax(
  args: TokenLayout & { readonly rewards: ArrayLike<number>; readonly baselines: ArrayLike<number> },
): AdvantagesAndReturns {
  const { mask, baselines } = args;
  checkLayout("remax", args, {}, { baselines });
  const returns = returnToGo({ ...args, masked: "discount" });
  const baseline = perToken({ ...args, values: baselines });
  const advantages = returns.map((value, n) => {
    const advantage = value - baseline[n];
    return isMasked(mask, n) || Number.isNaN(advantage) ? 0 : advantage;
  });
  return { advantages, returns };
}
