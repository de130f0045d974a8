/**
 * Which parts of a surrogate count: masks that follow from where the policy is, constant with respect to its update, for the
 * forms of the policy loss that drop tokens instead of clipping their ratio. N targets, log-probs in nats.
 *
 * A mask per advantage has the length of `advantages`, `[N]` or `[N, 2]`, because the two signs of a shared target are decided
 * apart: multiply it into the advantages (`multiply`). A mask per target, `[N]`, goes into the `multipliers` of a loss op.
 * p = exp(logprob), q = exp(anchorLogprob). Every function throws a RangeError where lengths or bounds do not fit.
 */
import type { Floats } from "./ops/ops.ts";

export interface Movement {
  /** `[N]` under the policy being updated */
  readonly logprobs: Floats;
  /** `[N]` under the policy that it is compared with: the one that sampled, or the one before the update */
  readonly anchorLogprobs: Floats;
}

/** How far a target may have moved, in units of the divergence. */
export interface MovementBounds {
  /** downwards, ≥ 0 */
  readonly epsLow: number;
  /** upwards, ≥ 0 */
  readonly epsHigh: number;
}

export interface AdvantageMovement extends Movement, MovementBounds {
  /** `[N]`, or `[N, 2]` (A⁺, A⁻) */
  readonly advantages: Floats;
}

/**
 * Per advantage: 0 where A > 0 and p − q > epsHigh, or A < 0 and q − p > epsLow, else 1.
 * Source: Qi et al. 2026, "Rethinking the trust region in LLM reinforcement learning" (DPPO).
 */
export function totalVariationMask(args: AdvantageMovement): Float64Array {
  const moved = movements("totalVariationMask", args);
  return perAdvantage("totalVariationMask", args, (A, n) =>
    A > 0 ? moved[n] <= args.epsHigh : A < 0 ? -moved[n] <= args.epsLow : true,
  );
}

/**
 * Per advantage: 0 where A > 0, p > q and d > epsHigh, or A < 0, p < q and d > epsLow, else 1, with the divergence of taking
 * the token or not, d = q log(q / p) + (1 − q) log((1 − q + 1e−8) / (1 − p + 1e−8)). Source as `totalVariationMask`.
 */
export function binaryKlMask(args: AdvantageMovement): Float64Array {
  const moved = movements("binaryKlMask", args);
  const { logprobs, anchorLogprobs } = args;
  const divergence = (n: number) => {
    const [q, restP, restQ] = [Math.exp(anchorLogprobs[n]), -Math.expm1(logprobs[n]), -Math.expm1(anchorLogprobs[n])];
    const taken = q === 0 ? 0 : q * (anchorLogprobs[n] - logprobs[n]);
    return taken + restQ * Math.log((restQ + 1e-8) / (restP + 1e-8));
  };
  return perAdvantage("binaryKlMask", args, (A, n) =>
    A > 0 && moved[n] > 0 ? divergence(n) <= args.epsHigh : A < 0 && moved[n] < 0 ? divergence(n) <= args.epsLow : true,
  );
}

/** Per target: 1 where −epsLow ≤ p − q ≤ epsHigh, whatever the sign of the advantage, else 0. */
export function movementMask(args: Movement & MovementBounds): Float64Array {
  const moved = movements("movementMask", args);
  return moved.map((move) => (move >= -args.epsLow && move <= args.epsHigh ? 1 : 0));
}

export interface Covariance {
  /** `[N]` */
  readonly logprobs: Floats;
  /** `[N]` of any sign */
  readonly advantages: Floats;
}

/** `[N]` (A − mean A)(logprob − mean logprob): how much a target pulls the entropy down. Source: arXiv:2505.22617, eq. 10. */
export function covariances({ logprobs, advantages }: Covariance): Float64Array {
  requireLength("covariances", "advantages [N]", advantages, logprobs.length);
  const mean = (values: Floats) => Float64Array.from(values).reduce((sum, value) => sum + value, 0) / values.length;
  const [meanLogprob, meanAdvantage] = [mean(logprobs), mean(advantages)];
  return Float64Array.from(logprobs, (logprob, n) => (advantages[n] - meanAdvantage) * (logprob - meanLogprob));
}

/**
 * Per target: 0 where low < covariance < high and the clip of the surrogate has not already cut it, else 1 (Clip-Cov without
 * the draw among the candidates). Source: Cui et al. 2025, arXiv:2505.22617, eq. 12.
 */
export function clippedCovarianceMask(
  args: Covariance & { readonly oldLogprobs: Floats } & MovementBounds & {
      readonly low: number;
      readonly high: number;
    },
): Float64Array {
  const { logprobs, oldLogprobs, advantages, epsLow, epsHigh } = args;
  requireLength("clippedCovarianceMask", "oldLogprobs [N]", oldLogprobs, logprobs.length);
  return covariances(args).map((covariance, n) => {
    const ratio = Math.exp(logprobs[n] - oldLogprobs[n]);
    const cut = advantages[n] > 0 ? ratio > 1 + epsHigh : advantages[n] < 0 ? ratio < 1 - epsLow : false;
    return !cut && covariance > args.low && covariance < args.high ? 0 : 1;
  });
}

/**
 * Per target: 1 on the max(1, ⌊share · N⌋) targets of the largest covariance, else 0: where KL-Cov adds its penalty. Ties go to
 * the lower index. Source: Cui et al. 2025, arXiv:2505.22617, eq. 13.
 */
export function largestCovarianceMask(args: Covariance & { readonly share: number }): Float64Array {
  if (!(args.share >= 0 && args.share <= 1)) {
    throw new RangeError(`largestCovarianceMask: expected share in 0 … 1, received ${args.share}`);
  }
  const values = covariances(args);
  const order = Array.from(values.keys()).sort((a, b) => values[b] - values[a] || a - b);
  const mask = new Float64Array(values.length);
  for (const n of order.slice(0, Math.max(1, Math.floor(args.share * values.length)))) mask[n] = 1;
  return mask;
}

/** p − q `[N]` */
function movements(caller: string, args: Movement & MovementBounds): Float64Array {
  const { logprobs, anchorLogprobs, epsLow, epsHigh } = args;
  requireLength(caller, "anchorLogprobs [N]", anchorLogprobs, logprobs.length);
  if (!(epsLow >= 0 && epsHigh >= 0)) {
    throw new RangeError(`${caller}: expected epsLow and epsHigh ≥ 0, received ${epsLow} and ${epsHigh}`);
  }
  return Float64Array.from(logprobs, (logprob, n) => Math.exp(logprob) - Math.exp(anchorLogprobs[n]));
}

function perAdvantage(
  caller: string,
  { advantages, logprobs }: AdvantageMovement,
  keeps: (A: number, n: number) => boolean,
): Float64Array {
  const columns = advantages.length === 2 * logprobs.length && advantages.length > 0 ? 2 : 1;
  requireLength(caller, "advantages [N] or [N, 2]", advantages, columns * logprobs.length);
  return Float64Array.from(advantages, (A, i) => (keeps(A, Math.floor(i / columns)) ? 1 : 0));
}

function requireLength(caller: string, name: string, values: Floats, length: number): void {
  if (values.length !== length) {
    throw new RangeError(`${caller}: expected ${name} of length ${length}, received ${values.length}`);
  }
}
