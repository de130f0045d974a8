import { randomArrays } from "../arrays.ts";
import type { OpCase } from "./op-case.ts";

const counts = [0, 1, 7, 8, 17, 1000, 70001];

export function optimizerCases(): OpCase[] {
  return counts.flatMap((count): OpCase[] => {
    const draw = randomArrays(count);
    const [params, grads, m] = [draw.normals(count), draw.normals(count, 0.1), draw.normals(count, 0.01)];
    const v = draw.normals(count, 0.01).map((x) => x * x);
    const settings = { lr: 1e-2, beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1 };
    const adamw = (
      name: string,
      options: { step: number; gradScale: number; weightDecay?: number },
      fresh = false,
    ): OpCase => ({
      op: "adamw",
      name: `${count} parameters, ${name}`,
      run: (ops, make) => {
        const state = fresh
          ? { params: make.copy(params), m: make.filled(count, 0), v: make.filled(count, 0) }
          : { params: make.copy(params), m: make.copy(m), v: make.copy(v) };
        ops.adamw({ ...settings, ...options, ...state, grads });
        return state;
      },
    });
    return [
      {
        op: "gradNorm",
        name: `${count} gradients`,
        run: (ops) => ({ norm: Float64Array.of(ops.gradNorm({ grads })) }),
      },
      adamw("first step", { step: 1, gradScale: 1 }, true),
      adamw("a clipped gradient", { step: 7, gradScale: 0.125 }),
      adamw("no weight decay", { step: 1000, gradScale: 1, weightDecay: 0 }),
    ];
  });
}
