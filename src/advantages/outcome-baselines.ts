/**
 * More baselines for one outcome per rollout, beside `grpo` and `rloo`: the same arguments, the same promises. Equal outcomes
 * of a group give exactly 0; NaN outcomes take no part and get 0.
 */
import type { AdvantageArguments } from "../trajectory/index.ts";
import { centre, deviation, perGroup, quotient } from "../trajectory/groups.ts";

/**
 * A = r − Σ n_i r_i / Σ n_i over the group: the baseline of least variance if the squared norm of a rollout's gradient grows with
 * its length n_i. Source: Hao et al. 2025, arXiv:2505.23585 (OPO).
 *
 * @param args.lengths `[L]` tokens of each rollout; a group of empty ones gets 0
 */
export function opo(args: AdvantageArguments & { readonly lengths: ArrayLike<number> }): Float64Array {
  const { outcomes, groups, singleton = "raw", lengths } = args;
  if (lengths.length !== outcomes.length) {
    throw new RangeError(`opo: expected lengths [L] of length ${outcomes.length}, received ${lengths.length}`);
  }
  return perGroup("opo", outcomes, groups, (values, indices) => {
    if (values.length === 1) return [singleton === "zero" ? 0 : values[0]];
    const shifted = values.map((value) => value - values[0]);
    const tokens = indices.reduce((sum, l) => sum + lengths[l], 0);
    if (tokens === 0) return shifted.fill(0);
    const baseline = indices.reduce((sum, l, i) => sum + lengths[l] * shifted[i], 0) / tokens;
    return shifted.map((value) => value - baseline);
  });
}

/**
 * A = α · (r − mean_g) / norm with α = L / #{r ≠ 0}: what groups without any reward leave unused is given to the others. Source:
 * Chu et al. 2025, arXiv:2504.02546 (GPG).
 *
 * @param args.norm default 1
 */
export function gpg(args: AdvantageArguments & { readonly norm?: number }): Float64Array {
  const { outcomes, groups, singleton = "raw", norm = 1 } = args;
  const verified = Array.from(outcomes).filter((outcome) => !Number.isNaN(outcome));
  const rewarded = verified.filter((outcome) => outcome !== 0).length;
  const scale = verified.length / Math.max(1, rewarded) / norm;
  return perGroup("gpg", outcomes, groups, (values) => {
    if (values.length === 1) return [singleton === "zero" ? 0 : scale * values[0]];
    return centre(values).map((c) => scale * c);
  });
}

/**
 * A = (r − mean_g) / (mean_g + eps), for outcomes ≥ 0: the rarer success, the more it counts, as in the gradient of
 * log(success rate). Source: Tajwar et al. 2026, arXiv:2602.02710 (MaxRL).
 *
 * @param args.eps added to the mean; default 1e-6
 */
export function maxrl(args: AdvantageArguments & { readonly eps?: number }): Float64Array {
  const { outcomes, groups, singleton = "raw", eps = 1e-6 } = args;
  return perGroup("maxrl", outcomes, groups, (values) => {
    if (values.length === 1) return [singleton === "zero" ? 0 : values[0]];
    const mean = values[0] + values.reduce((sum, value) => sum + (value - values[0]), 0) / values.length;
    return centre(values).map((c) => quotient(c, mean + eps));
  });
}

/**
 * The best of a group gets r_max − r_second, divided by (std_g + eps) with `std`; the others 0. It is the gain of the best of k
 * over what the group would have had without it. Source: Tang et al. 2025, arXiv:2503.19595 (pass@k).
 *
 * @param args.std default true
 * @param args.eps added to the standard deviation; default 1e-6
 * @param args.ddof the variance is divided by k − ddof; default 1
 */
export function passAtK(
  args: AdvantageArguments & { readonly std?: boolean; readonly eps?: number; readonly ddof?: number },
): Float64Array {
  const { outcomes, groups, singleton = "raw", std = true, eps = 1e-6, ddof = 1 } = args;
  return perGroup("passAtK", outcomes, groups, (values) => {
    if (values.length === 1) return [singleton === "zero" ? 0 : values[0] / (std ? 1 + eps : 1)];
    const best = values.indexOf(Math.max(...values));
    const second = Math.max(...values.filter((_, i) => i !== best));
    const divisor = std ? deviation(centre(values), ddof) + eps : 1;
    return values.map((value, i) => (i === best ? quotient(value - second, divisor) : 0));
  });
}
