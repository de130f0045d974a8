import type {
  AttentionShape,
  DecodeAttentionArguments,
  Floats,
  Ops,
  TreeAttentionArguments,
  TreeAttentionBackwardArguments,
} from "../ops.ts";
import type { Round } from "./arithmetic.ts";

/** Attention over the ancestors of a packed position, and of a decoding row over its path of cache slots. */
export function attentionReference(
  round: Round,
): Pick<Ops, "treeAttention" | "treeAttentionBackward" | "decodeAttention"> {
  const dot = (a: Floats, aStart: number, b: Floats, bStart: number, D: number) => {
    let total = 0;
    for (let d = 0; d < D; d++) total = round(total + round(a[aStart + d] * b[bStart + d]));
    return total;
  };

  /** One query over the keys of a path: writes out [D], gives log Σ exp of its scores. */
  function attend(query: Query, keys: Floats, values: Floats, path: readonly number[], out: Floats): number {
    const { D, scale, rowWidth, kvStart } = query;
    const scores = path.map((j) => round(scale * dot(query.q, query.start, keys, j * rowWidth + kvStart, D)));
    const max = scores.reduce((largest, score) => Math.max(largest, score), -Infinity);
    const exps = scores.map((score) => round(Math.exp(round(score - max))));
    const total = exps.reduce((sum, e) => round(sum + e), 0);
    for (let d = 0; d < D; d++) {
      let value = 0;
      path.forEach((j, index) => {
        value = round(value + round(exps[index] * values[j * rowWidth + kvStart + d]));
      });
      out[query.start + d] = round(value / total);
    }
    return round(max + round(Math.log(total)));
  }

  return {
    treeAttention(args: TreeAttentionArguments) {
      args.subtreeEnd.forEach((_end, i) => {
        const path = seen(ancestors(args.subtreeEnd, i), args);
        for (let h = 0; h < args.heads; h++) {
          args.lse[i * args.heads + h] = attend(queryOf(args, args.q, i, h), args.k, args.v, path, args.out);
        }
      });
    },

    treeAttentionBackward(args: TreeAttentionBackwardArguments) {
      const { k, v, dout, dq, dk, dv } = args;
      for (const gradient of [dq, dk, dv]) gradient.fill(0);
      args.subtreeEnd.forEach((_end, i) => {
        for (let h = 0; h < args.heads; h++) {
          const { q, start, D, scale, rowWidth, kvStart } = queryOf(args, args.q, i, h);
          const mean = dot(dout, start, args.out, start, D); // Σ_j p_j · dp_j
          for (const j of seen(ancestors(args.subtreeEnd, i), args)) {
            const key = j * rowWidth + kvStart;
            const p = round(Math.exp(round(round(scale * dot(q, start, k, key, D)) - args.lse[i * args.heads + h])));
            const dscore = round(round(p * round(dot(dout, start, v, key, D) - mean)) * scale);
            for (let d = 0; d < D; d++) {
              dv[key + d] = round(dv[key + d] + round(p * dout[start + d]));
              dk[key + d] = round(dk[key + d] + round(dscore * q[start + d]));
              dq[start + d] = round(dq[start + d] + round(dscore * k[key + d]));
            }
          }
        }
      });
    },

    decodeAttention(args: DecodeAttentionArguments) {
      for (let r = 0; r + 1 < args.slotOffsets.length; r++) {
        const path = seen(Array.from(args.slots.subarray(args.slotOffsets[r], args.slotOffsets[r + 1])), args);
        for (let h = 0; h < args.heads; h++)
          attend(queryOf(args, args.q, r, h), args.keys, args.values, path, args.out);
      }
    },
  };
}

/** Where head h of a row reads its query, and its key/value head in every row of the keys. */
interface Query {
  readonly q: Floats;
  readonly start: number;
  readonly D: number;
  readonly scale: number;
  readonly rowWidth: number;
  readonly kvStart: number;
}

function queryOf({ heads, kvHeads, headSize: D, scale }: AttentionShape, q: Floats, row: number, h: number): Query {
  const kvHead = Math.floor(h / (heads / kvHeads));
  return { q, start: (row * heads + h) * D, D, scale, rowWidth: kvHeads * D, kvStart: kvHead * D };
}

/** The packed positions that i attends to, itself last: j ≤ i < subtreeEnd[j]. */
function ancestors(subtreeEnd: Int32Array, i: number): number[] {
  const path: number[] = [];
  for (let j = 0; j <= i; j++) if (i < subtreeEnd[j]) path.push(j);
  return path;
}

/** What a window leaves of a path. */
const seen = (path: readonly number[], { window = path.length }: AttentionShape): readonly number[] =>
  path.slice(-window);
