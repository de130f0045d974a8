// A policy of your own in the trainer: whatever gives logits for packed positions, takes their gradient and can sample.
//
//   npm run build && node examples/own-policy.mjs
//
// The policy is a table of logits per last token; the task is to count on by two. Only the last value is checked.
import assert from "node:assert/strict";
import { fixedTokens, openOps, train } from "../dist/index.js";

/** Row `token` of the table holds the logits of what follows it. Implements `Policy` (src/policy.ts). */
class BigramPolicy {
  constructor(vocabulary, ops = openOps("cpu")) {
    this.ops = ops;
    this.vocabulary = vocabulary;
    this.table = ops.allocate(vocabulary * vocabulary);
    this.dtable = ops.allocate(vocabulary * vocabulary);
  }

  /** Logits [T, V]. A policy that looks further back reads `depth` and `subtreeEnd` too. */
  forward({ tokens }) {
    const { ops, vocabulary: hidden } = this;
    const logits = ops.allocate(tokens.length * hidden);
    ops.embed({ table: this.table, ids: tokens, hidden, out: logits });
    return { logits, backward: (dout) => ops.embedBackward({ ids: tokens, hidden, dout, dtable: this.dtable }) };
  }

  step(optimizer) {
    try {
      return optimizer.step(this.ops, this.table, this.dtable);
    } finally {
      this.dtable.fill(0);
    }
  }

  sampler({ seed, temperature = 1 }) {
    let stream = 0;
    return {
      sample: async (requests) => requests.map((request) => this.continue(request, seed, temperature, stream++)),
    };
  }

  continue({ prefix, maxTokens }, seed, temperature, stream) {
    const written = { tokens: [], logprobs: [] };
    for (let last = prefix.at(-1); written.tokens.length < maxTokens; last = written.tokens.at(-1)) {
      const logits = this.table.subarray(last * this.vocabulary, (last + 1) * this.vocabulary);
      const [streams, positions] = [Int32Array.of(stream), Int32Array.of(written.tokens.length)];
      const { tokens, logprobs } = this.ops.sample({ logits, temperature, seed, streams, positions });
      written.tokens.push(tokens[0]);
      written.logprobs.push(logprobs[0]);
    }
    return written;
  }

  parameters() {
    const { vocabulary, table: data, dtable: grad } = this;
    return [{ name: "table", shape: [vocabulary, vocabulary], data, grad }];
  }

  clone() {
    const copy = new BigramPolicy(this.vocabulary, this.ops);
    copy.table.set(this.table);
    return copy;
  }
}

const values = 10;
const countByTwo = {
  name: "count by two",
  vocabulary: values,
  maxTokens: 2,
  segment: fixedTokens(1),
  problem: (random) => {
    const start = Math.floor(random() * values);
    return { id: String(start), prompt: [start], answer: (start + 4) % values };
  },
  verify: ({ answer }, completion) => (completion.at(-1) === answer ? 1 : 0),
  write: (tokens) => tokens.join(" "),
};

const policy = new BigramPolicy(values);
const accuracies = [];
for await (const { metrics } of train(policy, countByTwo, {
  seed: 0,
  budgetTokens: 20_000,
  problemsPerIteration: 32,
  groupSize: 8,
  temperature: 1,
  rule: "contrast",
  repair: false,
  lr: 0.1,
  beta1: 0.9,
  beta2: 0.99,
  maxGradNorm: 1,
  epochs: 4,
  rowsPerBatch: 128,
  epsLow: 0.2,
  epsHigh: 0.2,
})) {
  accuracies.push(metrics.accuracy);
  if (metrics.iteration % 10 === 1) {
    const { iteration, tokens, accuracy, update } = metrics;
    console.log(
      `iteration ${iteration}: ${tokens} tokens, accuracy ${accuracy.toFixed(2)}, ` +
        `first ratio off by ${update.firstRatioError.toExponential(1)}, clipped ${update.clipFraction.toFixed(3)}`,
    );
  }
}
assert.ok(accuracies.at(-1) > 2 * accuracies[0], "training on outcomes made it more accurate");
