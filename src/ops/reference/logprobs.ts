import type {
  Floats,
  LogprobsArguments,
  LogprobsBackwardArguments,
  LogprobsInputs,
  LogprobsResult,
  Ops,
} from "../ops.ts";
import type { Round } from "./arithmetic.ts";
import { optionalOutput, output } from "./arithmetic.ts";

/** A row of `logits` over its temperature: z `[V]`, its maximum, and log Σ exp(z − maximum). */
export interface SoftmaxRow {
  readonly z: Float64Array;
  readonly max: number;
  /** log1p of the sum without the maximum's own 1, so that a confident row keeps its relative accuracy */
  readonly logSum: number;
}

export function softmaxRow(logits: Floats, start: number, V: number, temperature: number, round: Round): SoftmaxRow {
  const z = new Float64Array(V);
  let top = 0;
  for (let v = 0; v < V; v++) {
    z[v] = round(logits[start + v] / temperature);
    if (z[v] > z[top]) top = v;
  }
  const max = z[top];
  let rest = 0;
  if (max !== -Infinity) {
    for (let v = 0; v < V; v++) if (v !== top) rest = round(rest + round(Math.exp(round(z[v] - max))));
  }
  return { z, max, logSum: round(Math.log1p(rest)) };
}

/** log p of entry v; −∞ at a masked entry, and everywhere in a row of −∞. */
export function logProbability(row: SoftmaxRow, v: number, round: Round): number {
  return row.z[v] === -Infinity ? -Infinity : round(round(row.z[v] - row.max) - row.logSum);
}

export function temperatureOf(args: Pick<LogprobsInputs, "temperature">, t: number): number {
  const temperature = args.temperature ?? 1;
  return typeof temperature === "number" ? temperature : temperature[t];
}

export function logprobsReference(round: Round): Pick<Ops, "logprobs" | "logprobsBackward"> {
  return {
    logprobs(args: LogprobsArguments): LogprobsResult {
      const { logits, targetOffsets, targets } = args;
      const T = targetOffsets.length - 1;
      const V = T === 0 ? 0 : logits.length / T;
      const lse = output(args.lse, T);
      const logprobs = output(args.logprobs, targets.length);
      const entropy = optionalOutput(args.entropy, T);
      const sumSquares = optionalOutput(args.sumSquares, T);
      for (let t = 0; t < T; t++) {
        if (targetOffsets[t] === targetOffsets[t + 1]) continue;
        const row = softmaxRow(logits, t * V, V, temperatureOf(args, t), round);
        lse[t] = round(row.max + row.logSum);
        for (let n = targetOffsets[t]; n < targetOffsets[t + 1]; n++)
          logprobs[n] = logProbability(row, targets[n], round);
        let plogp = 0;
        let squares = 0;
        for (let v = 0; v < V; v++) {
          const logp = logProbability(row, v, round);
          if (logp === -Infinity) continue; // 0 · (−∞) = 0
          const p = round(Math.exp(logp));
          plogp = round(plogp + round(p * logp));
          squares = round(squares + round(p * p));
        }
        if (entropy) entropy[t] = 0 - plogp;
        if (sumSquares) sumSquares[t] = squares;
      }
      return { lse, logprobs, ...(entropy && { entropy }), ...(sumSquares && { sumSquares }) };
    },

    logprobsBackward(args: LogprobsBackwardArguments): Floats {
      const { logits, targetOffsets, dlogprobs } = args;
      const T = targetOffsets.length - 1;
      const V = T === 0 ? 0 : logits.length / T;
      const dlogits = output(args.dlogits, T * V);
      for (let t = 0; t < T; t++) {
        const first = targetOffsets[t];
        const last = targetOffsets[t + 1];
        const dentropy = first === last ? 0 : (args.dentropy?.[t] ?? 0);
        const active = dentropy !== 0 || dlogprobs.subarray(first, last).some((g) => g !== 0);
        const drow = active ? rowGradient(args, t, V, dentropy, round) : new Float64Array(V);
        dlogits.set(drow, t * V); // after the row was read: dlogits may be the logits
      }
      return dlogits;
    },
  };
}

function rowGradient(
  args: LogprobsBackwardArguments,
  t: number,
  V: number,
  dentropy: number,
  round: Round,
): Float64Array {
  const temperature = temperatureOf(args, t);
  const logp = new Float64Array(V);
  const p = new Float64Array(V);
  for (let v = 0; v < V; v++) {
    const z = round(args.logits[t * V + v] / temperature);
    logp[v] = z === -Infinity ? -Infinity : round(z - args.lse[t]);
    p[v] = round(Math.exp(logp[v]));
  }
  const drow = new Float64Array(V);
  for (let v = 0; v < V; v++) {
    if (logp[v] === -Infinity) continue; // masked vocabulary: exactly 0
    let own = 0; // Σ over the targets that are v
    let others = 0;
    for (let n = args.targetOffsets[t]; n < args.targetOffsets[t + 1]; n++) {
      if (args.targets[n] === v) own = round(own + args.dlogprobs[n]);
      else others = round(others + args.dlogprobs[n]);
    }
    let d = round(0 - round(others * p[v]));
    if (own !== 0) d = round(d + round(own * complement(p, v, round)));
    if (dentropy !== 0) d = round(d - round(round(dentropy * p[v]) * round(logp[v] + args.entropy![t])));
    drow[v] = round(d / temperature);
  }
  return drow;
}

/** 1 − p[v]; of a confident entry the sum of the others, which does not cancel. */
function complement(p: Float64Array, v: number, round: Round): number {
  if (!(p[v] > 0.5)) return round(1 - p[v]);
  let sum = 0;
  for (let other = 0; other < p.length; other++) if (other !== v) sum = round(sum + p[other]);
  return sum;
}
