import type { Ops, SampleArguments, SampleResult } from "../ops.ts";
import type { Round } from "./arithmetic.ts";
import { optionalOutput, output } from "./arithmetic.ts";
import type { SoftmaxRow } from "./logprobs.ts";
import { logProbability, softmaxRow } from "./logprobs.ts";

/**
 * Philox4x32-10: four 32-bit words from a counter of four and a key of two.
 *
 * Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
 */
export function philox(counter: readonly number[], key: readonly number[]): readonly number[] {
  let [c0, c1, c2, c3] = counter.map((word) => word >>> 0);
  let [k0, k1] = key.map((word) => word >>> 0);
  for (let round = 0; round < 10; round++) {
    const a = BigInt(c0) * 0xd2511f53n;
    const b = BigInt(c2) * 0xcd9e8d57n;
    [c0, c1, c2, c3] = [(high(b) ^ c1 ^ k0) >>> 0, low(b), (high(a) ^ c3 ^ k1) >>> 0, low(a)];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

const high = (product: bigint) => Number(product >> 32n);
const low = (product: bigint) => Number(product & 0xffffffffn);

export function sampleReference(round: Round): Pick<Ops, "sample"> {
  return {
    sample(args: SampleArguments): SampleResult {
      const R = args.streams.length;
      const V = R === 0 ? 0 : args.logits.length / R;
      const temperature = args.temperature ?? 1;
      const tokens = args.tokens ?? new Int32Array(R);
      const logprobs = output(args.logprobs, R);
      const supportLogprobs = optionalOutput(args.supportLogprobs, R);
      for (let r = 0; r < R; r++) {
        const row = softmaxRow(args.logits, r * V, V, temperature === 0 ? 1 : temperature, round);
        const broken = row.max === -Infinity || row.z.some(Number.isNaN);
        const support = broken ? [] : temperature === 0 ? byProbability(row).slice(0, 1) : supportOf(row, args, round);
        const token = broken ? -1 : draw(row, support, uniform(args, r), round);
        const logp = broken ? NaN : logProbability(row.z[token], row, round);
        tokens[r] = token;
        logprobs[r] = logp;
        if (supportLogprobs)
          supportLogprobs[r] = round(round(row.z[token] - row.max) - round(Math.log(mass(row, support, round))));
      }
      return { tokens, logprobs, ...(supportLogprobs && { supportLogprobs }) };
    },
  };
}

function uniform(args: SampleArguments, r: number): number {
  const [w0, w1] = philox(
    [args.streams[r], args.positions[r], 0, 0],
    [args.seed % 2 ** 32, Math.floor(args.seed / 2 ** 32)],
  );
  return (w0 + w1 * 2 ** -32) * 2 ** -32;
}

/** Ids by falling probability, ties by lower id. */
function byProbability({ z }: SoftmaxRow): number[] {
  return Array.from(z.keys()).sort((a, b) => (z[a] === z[b] ? a - b : z[a] > z[b] ? -1 : 1));
}

/** The ids that survive topK, then topP, then minP, in id order; those of −∞ logits never do. */
function supportOf(row: SoftmaxRow, args: SampleArguments, round: Round): number[] {
  const p = (v: number) => round(Math.exp(logProbability(row.z[v], row, round)));
  let ids = byProbability(row).filter((v) => row.z[v] !== -Infinity);
  if (args.topK) ids = ids.slice(0, args.topK);
  if (args.topP !== undefined && args.topP < 1) {
    let sum = 0;
    let kept = 0;
    while (kept < ids.length && sum < args.topP) sum = round(sum + p(ids[kept++]));
    ids = ids.slice(0, Math.max(kept, 1));
  }
  if (args.minP) {
    const least = round(args.minP * p(ids[0]));
    ids = ids.filter((v, rank) => rank === 0 || p(v) >= least);
  }
  return ids.sort((a, b) => a - b);
}

/** Σ over the support of exp(z − maximum). */
function mass(row: SoftmaxRow, support: readonly number[], round: Round): number {
  return support.reduce((sum, v) => round(sum + round(Math.exp(round(row.z[v] - row.max)))), 0);
}

/** The first id of the support whose cumulative probability exceeds u; the last one if rounding leaves none. */
function draw(row: SoftmaxRow, support: readonly number[], u: number, round: Round): number {
  const total = mass(row, support, round);
  let cumulative = 0;
  for (const v of support) {
    cumulative = round(cumulative + round(Math.exp(round(row.z[v] - row.max))));
    if (cumulative > u * total) return v;
  }
  return support[support.length - 1];
}
