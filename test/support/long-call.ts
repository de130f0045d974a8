import type { TreeAttentionArguments } from "../../src/ops/ops.ts";

/** Attention along one chain of T tokens, of which every one sees all before it: T² work on little memory, many chunks. */
export function longCall(T: number): TreeAttentionArguments {
  const [heads, D] = [4, 8];
  const filled = (): Float32Array => new Float32Array(T * heads * D).fill(0.5);
  return {
    q: filled(),
    k: filled(),
    v: filled(),
    out: filled(),
    lse: new Float32Array(T * heads),
    subtreeEnd: new Int32Array(T).fill(T),
    heads,
    kvHeads: heads,
    headSize: D,
    scale: 0.5,
  };
}

/** Many seconds on two threads of any machine: only for calls that are aborted. */
export const endless = 2 ** 17;
