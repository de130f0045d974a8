import type {
  Floats,
  GradientOf,
  LogprobsArguments,
  LogprobsBackwardArguments,
  LogprobsResult,
  Ops,
  Values,
} from "../ops.ts";
import { floatsOf } from "../halves.ts";
import type { Round } from "./arithmetic.ts";
import { optionalOutput, output } from "./arithmetic.ts";
import { countedTargets, logitRow, throughChain, valuesOutput, vocabularyOf, type LogitRow } from "./logit-rows.ts";

/** The maximum of some of z, and log Σ exp(z − maximum) over them. */
export interface Normaliser {
  readonly max: number;
  /** log1p of the sum without the maximum's own 1, so that a confident row keeps its relative accuracy */
  readonly logSum: number;
}

/** Over the entries that are `inside`; of none, a maximum of −∞. */
export function normaliser(z: Float64Array, round: Round, inside: (v: number) => boolean = () => true): Normaliser {
  let top = -1;
  for (let v = 0; v < z.length; v++) if (inside(v) && (top < 0 || z[v] > z[top])) top = v;
  const max = top < 0 ? -Infinity : z[top];
  let rest = 0;
  if (max !== -Infinity) {
    for (let v = 0; v < z.length; v++) {
      if (v !== top && inside(v)) rest = round(rest + round(Math.exp(round(z[v] - max))));
    }
  }
  return { max, logSum: round(Math.log1p(rest)) };
}

/** A row of logits over its temperature: z `[V]`, and what its probabilities are taken against. */
export interface SoftmaxRow extends Normaliser {
  readonly z: Float64Array;
}

export function softmaxRow(logits: Floats, start: number, V: number, temperature: number, round: Round): SoftmaxRow {
  const z = Float64Array.from({ length: V }, (_, v) => round(logits[start + v] / temperature));
  return { z, ...normaliser(z, round) };
}

/** log p of an entry of z; −∞ at a masked entry, and everywhere in a row of −∞. */
export function logProbability(z: number, { max, logSum }: Normaliser, round: Round): number {
  return z === -Infinity ? -Infinity : round(round(z - max) - logSum);
}

export function logprobsReference(round: Round): Pick<Ops, "logprobs" | "logprobsBackward"> {
  return {
    logprobs(args: LogprobsArguments<Values>): LogprobsResult {
      const { targetOffsets, targets } = args;
      const logits = floatsOf(args.logits);
      const T = targetOffsets.length - 1;
      const lse = output(args.lse, T);
      const logprobs = output(args.logprobs, targets.length);
      const entropy = optionalOutput(args.entropy, T);
      const sumSquares = optionalOutput(args.sumSquares, T);
      for (let t = 0; t < T; t++) {
        logprobs.fill(0, targetOffsets[t], targetOffsets[t + 1]);
        const counted = countedTargets(args, t);
        if (counted.length === 0) continue;
        const row = logitRow(args, logits, t, round);
        const support = normaliser(row.z, round, row.kept);
        lse[t] = round(support.max + support.logSum);
        for (const n of counted) {
          const own = row.kept(targets[n]) ? support : normaliser(row.z, round, (v) => v === targets[n] || row.kept(v));
          logprobs[n] = logProbability(row.z[targets[n]], own, round);
        }
        const { plogp, squares } = moments(row.z, round);
        if (entropy) entropy[t] = 0 - plogp;
        if (sumSquares) sumSquares[t] = squares;
      }
      return { lse, logprobs, ...(entropy && { entropy }), ...(sumSquares && { sumSquares }) };
    },

    logprobsBackward<L extends Values>(args: LogprobsBackwardArguments<L>): GradientOf<L> {
      const { targetOffsets, dlogprobs } = args;
      const logits = floatsOf(args.logits);
      const T = targetOffsets.length - 1;
      const V = vocabularyOf(logits, targetOffsets);
      const { write, values } = valuesOutput(args.logits, args.dlogits, T * V);
      for (let t = 0; t < T; t++) {
        const counted = countedTargets(args, t);
        const dentropy = counted.length === 0 ? 0 : (args.dentropy?.[t] ?? 0);
        const active = dentropy !== 0 || counted.some((n) => dlogprobs[n] !== 0);
        // Written after the row was read: dlogits may be the logits.
        write(active ? rowGradient(args, logits, t, dentropy, round) : new Float64Array(V), t * V);
      }
      return values as GradientOf<L>;
    },
  };
}

/** Σ p log p and Σ p² over the whole vocabulary. */
function moments(z: Float64Array, round: Round): { readonly plogp: number; readonly squares: number } {
  const full = normaliser(z, round);
  let plogp = 0;
  let squares = 0;
  for (const each of z) {
    const logp = logProbability(each, full, round);
    if (logp === -Infinity) continue; // 0 · (−∞) = 0
    const p = round(Math.exp(logp));
    plogp = round(plogp + round(p * logp));
    squares = round(squares + round(p * p));
  }
  return { plogp, squares };
}

function rowGradient(
  args: LogprobsBackwardArguments<Values>,
  logits: Floats,
  t: number,
  dentropy: number,
  round: Round,
): Float64Array {
  const { targets, dlogprobs, lse } = args;
  const row = logitRow(args, logits, t, round);
  const counted = countedTargets(args, t);
  // Of a target in the support: its probability there; of another one, what it leaves to the support.
  const q = row.z.map((z, v) => (row.kept(v) && z !== -Infinity ? round(Math.exp(round(z - lse[t]))) : 0));
  const share = (v: number) => (row.kept(v) ? 1 : shareOfSupport(row.z[v], lse[t], round));
  const entropyTerm = dentropy === 0 ? undefined : entropyGradient(args, row, t, dentropy, round);
  const drow = new Float64Array(row.z.length);
  for (let v = 0; v < drow.length; v++) {
    if (row.z[v] === -Infinity) continue; // masked vocabulary: exactly 0
    let own = 0; // Σ over the targets that are v
    let others = 0;
    for (const n of counted) {
      if (targets[n] === v) own = round(own + dlogprobs[n]);
      else others = round(others + round(dlogprobs[n] * share(targets[n])));
    }
    let d = round(0 - round(others * q[v]));
    if (own !== 0) d = round(d + round(own * (row.kept(v) ? complement(q, v, round) : share(v))));
    if (entropyTerm) d = round(d + entropyTerm(v));
    drow[v] = throughChain(d, args, t, row.y[v], round);
  }
  return drow;
}

/** −dentropy · p (log p + entropy) at an entry; over the whole vocabulary, whose log-sum-exp the support's is where all is kept. */
function entropyGradient(
  args: LogprobsBackwardArguments<Values>,
  { z }: LogitRow,
  t: number,
  dentropy: number,
  round: Round,
): (v: number) => number {
  const full = normaliser(z, round);
  const lse = args.keep === undefined ? args.lse[t] : round(full.max + full.logSum);
  return (v) => {
    const logp = round(z[v] - lse);
    return 0 - round(round(dentropy * round(Math.exp(logp))) * round(logp + args.entropy![t]));
  };
}

/** What the support has of the probability under a target outside of it: 1 − p of that target. */
function shareOfSupport(z: number, lse: number, round: Round): number {
  if (z === -Infinity) return 1;
  return lse === -Infinity ? 0 : round(1 / round(1 + round(Math.exp(round(z - lse)))));
}

/** 1 − p[v]; of a confident entry the sum of the others, which does not cancel. */
function complement(p: Float64Array, v: number, round: Round): number {
  if (!(p[v] > 0.5)) return round(1 - p[v]);
  let sum = 0;
  for (let other = 0; other < p.length; other++) if (other !== v) sum = round(sum + p[other]);
  return sum;
}
