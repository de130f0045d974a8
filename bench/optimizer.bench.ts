/** adamw and gradNorm. */

import type { Work } from "./harness.ts";
import { subjects } from "./harness.ts";
import { normals } from "./inputs.ts";
import * as plain from "./peers/plain.ts";
import { parameterCounts, type Flat } from "./shapes.ts";

const flatWork = {
  sizes: parameterCounts,
  reduced: { name: "reduced", count: 5000 },
  shape: ({ count }: Flat) => `[${count}]`,
};

const adamw: Work<Flat> = {
  ...flatWork,
  op: "adamw",
  cost: ({ count }) => ({ readBytes: 16 * count, writtenBytes: 12 * count, flops: 0 }),
  build({ count }, make) {
    const written = {
      params: make.copy(normals(1, count)),
      m: make.copy(normals(2, count, 0.1)),
      v: make.copy(normals(3, count).map((x) => x * x)),
    };
    const grads = normals(4, count);
    const settings = { step: 3, lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01, gradScale: 0.5 };
    return {
      run: (ops) => ops.adamw({ ...written, grads, ...settings }),
      runPlain: () => plain.adamw({ ...written, grads, ...settings }),
      outcome: () => written,
    };
  },
  torch: ({ count }) => ({ subject: "adamw", shape: { count } }),
};

const gradNorm: Work<Flat> = {
  ...flatWork,
  op: "gradNorm",
  cost: ({ count }) => ({ readBytes: 4 * count, writtenBytes: 0, flops: 0 }),
  build({ count }, make) {
    const grads = normals(1, count);
    const norm = make.filled(1);
    return {
      run: (ops) => (norm[0] = ops.gradNorm({ grads })),
      runPlain: () => plain.gradNorm(grads),
      outcome: () => ({ norm }),
    };
  },
  torch: ({ count }) => ({ subject: "grad_norm", shape: { count } }),
};

export const optimizerBench = [...subjects(adamw), ...subjects(gradNorm)];
