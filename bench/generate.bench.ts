/** Generation: prompts of one length continued together, with log-probs, by a policy at random. */

import type { Ops } from "../src/ops/ops.ts";
import { TransformerPolicy } from "../src/policies/transformer.ts";
import { randomArrays } from "../test/support/arrays.ts";
import { random } from "../test/support/random.ts";
import type { Work } from "./harness.ts";
import { subjects } from "./harness.ts";
import { generations, matrixWeights, type Generating } from "./shapes.ts";

const generate: Work<Generating> = {
  op: "generate",
  sizes: generations,
  reduced: {
    name: "reduced",
    policy: { vocabulary: 11, hidden: 16, layers: 2, heads: 4, kvHeads: 2, intermediate: 24, tieEmbeddings: true },
    prompts: 5,
    promptLength: 3,
    maxTokens: 6,
  },
  shape: ({ policy, prompts, promptLength, maxTokens }) =>
    `${policy.layers} layers of ${policy.hidden}, V ${policy.vocabulary}, ${prompts} x (${promptLength} + ${maxTokens})`,
  cost: ({ policy, prompts, promptLength, maxTokens }) => ({
    readBytes: 0,
    writtenBytes: 0,
    flops: 2 * matrixWeights(policy) * prompts * (promptLength + maxTokens),
  }),
  floor: "none",
  build({ policy: config, prompts, promptLength, maxTokens }) {
    const draw = randomArrays(4);
    const requests = Array.from({ length: prompts }, () => ({
      prefix: [...draw.integers(promptLength, config.vocabulary)],
      maxTokens,
    }));
    const tokens = new Int32Array(prompts * maxTokens);
    const logprobs = new Float32Array(prompts * maxTokens);
    let policy: TransformerPolicy | undefined;
    return {
      async run(ops: Ops) {
        const size = { ...config, maxPositions: promptLength + maxTokens };
        policy ??= TransformerPolicy.create(size, { random: random(3) }, { ops });
        policy.changed(); // nothing is left from the call before
        const completions = await policy.sampler({ seed: 1 }).sample(requests);
        completions.forEach((completion, r) => {
          tokens.set(completion.tokens, r * maxTokens);
          logprobs.set(completion.logprobs, r * maxTokens);
        });
      },
      outcome: () => ({ tokens, logprobs }),
    };
  },
  torch: ({ policy, prompts, promptLength, maxTokens }) => ({
    subject: "generate",
    shape: { prompts, promptLength, maxTokens, ...policy },
  }),
};

export const generateBench = subjects(generate);
