/** What a JavaScript program would write without this library: plain loops over typed arrays, one thread. */

import type {
  AdamwArguments,
  DecodeAttentionArguments,
  Floats,
  LinearArguments,
  LogprobsInputs,
  Ops,
  PolicyLossInputs,
  RopeArguments,
  TreeAttentionArguments,
} from "../../src/ops/ops.ts";

/** log Σ exp of a row, and its maximum. */
function logSumExp(logits: Floats, start: number, V: number): number {
  let max = -Infinity;
  for (let v = 0; v < V; v++) if (logits[start + v] > max) max = logits[start + v];
  let sum = 0;
  for (let v = 0; v < V; v++) sum += Math.exp(logits[start + v] - max);
  return max + Math.log(sum);
}

export function logprobs(args: LogprobsInputs & { readonly lse: Floats; readonly logprobs: Floats }): void {
  const T = args.targetOffsets.length - 1;
  const V = args.logits.length / T;
  for (let t = 0; t < T; t++) {
    args.lse[t] = logSumExp(args.logits, t * V, V);
    for (let n = args.targetOffsets[t]; n < args.targetOffsets[t + 1]; n++) {
      args.logprobs[n] = args.logits[t * V + args.targets[n]] - args.lse[t];
    }
  }
}

export function logprobsBackward(
  args: LogprobsInputs & { readonly lse: Floats; readonly dlogprobs: Floats; readonly dlogits: Floats },
): void {
  const T = args.targetOffsets.length - 1;
  const V = args.logits.length / T;
  for (let t = 0; t < T; t++) {
    let sum = 0;
    for (let n = args.targetOffsets[t]; n < args.targetOffsets[t + 1]; n++) sum += args.dlogprobs[n];
    for (let v = t * V; v < (t + 1) * V; v++) args.dlogits[v] = -sum * Math.exp(args.logits[v] - args.lse[t]);
    for (let n = args.targetOffsets[t]; n < args.targetOffsets[t + 1]; n++) {
      args.dlogits[t * V + args.targets[n]] += args.dlogprobs[n];
    }
  }
}

/** The clipped surrogate for advantages [N, 2]. */
export function policyLossClip(args: PolicyLossInputs & { readonly logprobs: Floats; readonly dlogprobs: Floats }): {
  readonly loss: number;
  readonly clipped: number;
} {
  const { epsLow, epsHigh } = args;
  let loss = 0;
  let clipped = 0;
  for (let n = 0; n < args.logprobs.length; n++) {
    const ratio = Math.exp(args.logprobs[n] - args.oldLogprobs[n]);
    const held = Math.min(Math.max(ratio, 1 - epsLow), 1 + epsHigh);
    let slope = 0;
    for (let sign = 0; sign < 2; sign++) {
      const advantage = args.advantages[2 * n + sign];
      const isClipped = -advantage * held > -advantage * ratio;
      loss -= args.weights[n] * advantage * (isClipped ? held : ratio);
      if (isClipped) clipped++;
      else slope -= advantage * ratio;
    }
    args.dlogprobs[n] = args.weights[n] * slope;
  }
  return { loss, clipped };
}

export function policyUpdateClip(
  args: LogprobsInputs &
    PolicyLossInputs & {
      readonly lse: Floats;
      readonly logprobs: Floats;
      readonly dlogprobs: Floats;
      readonly dlogits: Floats;
    },
): void {
  logprobs(args);
  policyLossClip(args);
  logprobsBackward(args);
}

export function scatterAdvantages(stepCredits: Floats, stepOf: Int32Array, advantages: Floats): void {
  for (let n = 0; n < stepOf.length; n++) {
    const s = stepOf[n];
    advantages[2 * n] = s < 0 ? 0 : stepCredits[2 * s];
    advantages[2 * n + 1] = s < 0 ? 0 : stepCredits[2 * s + 1];
  }
}

export function adamw({ params, grads, m, v, ...args }: AdamwArguments): void {
  const rate = args.lr / (1 - args.beta1 ** args.step);
  const root = 1 / Math.sqrt(1 - args.beta2 ** args.step);
  for (let i = 0; i < params.length; i++) {
    const g = grads[i] * args.gradScale;
    m[i] = args.beta1 * m[i] + (1 - args.beta1) * g;
    v[i] = args.beta2 * v[i] + (1 - args.beta2) * g * g;
    params[i] -= args.lr * args.weightDecay * params[i] + (rate * m[i]) / (Math.sqrt(v[i]) * root + args.eps);
  }
}

export function gradNorm(grads: Floats): number {
  let sum = 0;
  for (let i = 0; i < grads.length; i++) sum += grads[i] * grads[i];
  return Math.sqrt(sum);
}

/** Without bias, and with a weight in f32. */
export function linear({ x, weight, y, rows }: LinearArguments & { readonly weight: Floats }): void {
  const I = x.length / rows;
  const O = y.length / rows;
  for (let t = 0; t < rows; t++) {
    for (let o = 0; o < O; o++) {
      let sum = 0;
      for (let i = 0; i < I; i++) sum += x[t * I + i] * weight[o * I + i];
      y[t * O + o] = sum;
    }
  }
}

export function rmsNorm({ x, weight, eps, y, rrms }: Parameters<Ops["rmsNorm"]>[0]): void {
  const H = weight.length;
  for (let t = 0; t < rrms.length; t++) {
    let sum = 0;
    for (let h = 0; h < H; h++) sum += x[t * H + h] * x[t * H + h];
    rrms[t] = 1 / Math.sqrt(sum / H + eps);
    for (let h = 0; h < H; h++) y[t * H + h] = x[t * H + h] * rrms[t] * weight[h];
  }
}

export function rope({ x, depth, heads, cosines, sines, headSize }: RopeArguments): void {
  const half = headSize / 2;
  for (let t = 0; t < depth.length; t++) {
    for (let head = 0; head < heads; head++) {
      const at = (t * heads + head) * headSize;
      for (let i = 0; i < half; i++) {
        const cosine = cosines[depth[t] * half + i];
        const sine = sines[depth[t] * half + i];
        const [low, high] = [x[at + i], x[at + half + i]];
        x[at + i] = low * cosine - high * sine;
        x[at + half + i] = high * cosine + low * sine;
      }
    }
  }
}

export function swiglu(gate: Floats, up: Floats, out: Floats): void {
  for (let i = 0; i < out.length; i++) out[i] = (gate[i] / (1 + Math.exp(-gate[i]))) * up[i];
}

export function embed(table: Floats, ids: Int32Array, hidden: number, out: Floats): void {
  for (let t = 0; t < ids.length; t++) {
    for (let h = 0; h < hidden; h++) out[t * hidden + h] = table[ids[t] * hidden + h];
  }
}

export function treeAttention(args: TreeAttentionArguments): void {
  const { q, k, v, subtreeEnd, out, lse, heads } = args;
  for (let i = 0; i < subtreeEnd.length; i++) {
    const seen: number[] = [];
    for (let j = 0; j <= i; j++) if (i < subtreeEnd[j]) seen.push(j);
    for (let head = 0; head < heads; head++) lse[i * heads + head] = attend(args, q, k, v, out, i, head, seen);
  }
}

export function decodeAttention(args: DecodeAttentionArguments): void {
  for (let r = 0; r + 1 < args.slotOffsets.length; r++) {
    const seen = args.slots.subarray(args.slotOffsets[r], args.slotOffsets[r + 1]);
    for (let head = 0; head < args.heads; head++) {
      attend(args, args.q, args.keys, args.values, args.out, r, head, seen);
    }
  }
}

/** One head of one row over the positions it sees; gives the log-sum-exp of its scores. */
function attend(
  { heads, kvHeads, headSize: D, scale }: Pick<TreeAttentionArguments, "heads" | "kvHeads" | "headSize" | "scale">,
  q: Floats,
  keys: Floats,
  values: Floats,
  out: Floats,
  row: number,
  head: number,
  seen: ArrayLike<number>,
): number {
  const shared = Math.floor(head / (heads / kvHeads));
  const at = (row * heads + head) * D;
  const scores = new Float32Array(seen.length);
  for (let s = 0; s < seen.length; s++) {
    const from = (seen[s] * kvHeads + shared) * D;
    let dot = 0;
    for (let d = 0; d < D; d++) dot += q[at + d] * keys[from + d];
    scores[s] = dot * scale;
  }
  const lse = logSumExp(scores, 0, scores.length);
  for (let d = 0; d < D; d++) out[at + d] = 0;
  for (let s = 0; s < seen.length; s++) {
    const from = (seen[s] * kvHeads + shared) * D;
    const share = Math.exp(scores[s] - lse);
    for (let d = 0; d < D; d++) out[at + d] += share * values[from + d];
  }
  return lse;
}

/** Temperature 1, no filters, the runtime's own random numbers. */
export function sample(logits: Floats, tokens: Int32Array, logprobs: Floats): void {
  const V = logits.length / tokens.length;
  for (let r = 0; r < tokens.length; r++) {
    const lse = logSumExp(logits, r * V, V);
    let left = Math.random();
    let token = -1;
    while (left >= 0 && token + 1 < V) left -= Math.exp(logits[r * V + ++token] - lse);
    tokens[r] = token;
    logprobs[r] = logits[r * V + token] - lse;
  }
}
