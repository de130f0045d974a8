import { describe, expect, it } from "vitest";

import { openOps, setNumThreads } from "../../src/ops/native.ts";
import type { Floats } from "../../src/ops/ops.ts";

const ops = openOps("cpu");
const rows = {
  logits: new Float32Array(6),
  targetOffsets: Int32Array.of(0, 1, 2),
  targets: Int32Array.of(0, 2),
};
const head = {
  hidden: new Float32Array(8),
  weight: new Float32Array(12),
  targetOffsets: Int32Array.of(0, 1, 2),
  targets: Int32Array.of(0, 2),
};
const loss = {
  logprobs: new Float32Array(2),
  oldLogprobs: new Float32Array(2),
  advantages: new Float32Array(4),
  weights: new Float32Array(2),
  epsLow: 0.2,
  epsHigh: 0.2,
};
const attention = {
  q: new Float32Array(8),
  k: new Float32Array(8),
  v: new Float32Array(8),
  out: new Float32Array(8),
  lse: new Float32Array(2),
  subtreeEnd: Int32Array.of(2, 2),
  heads: 1,
  kvHeads: 1,
  headSize: 4,
  scale: 0.5,
};
const wrong = (value: unknown): Floats => value as Floats;

const cases: readonly {
  name: string;
  call: () => unknown;
  error: typeof TypeError | typeof RangeError;
  message: string;
}[] = [
  {
    name: "an Array where a Float32Array belongs",
    call: () => ops.logprobs({ ...rows, logits: wrong([1, 2, 3, 4, 5, 6]) }),
    error: TypeError,
    message:
      "logprobs: expected logits [T, V] to be a Float32Array, or { dtype, data } of bf16, f16 or f32, received an Array of length 6",
  },
  {
    name: "doubles where floats belong",
    call: () => ops.logprobs({ ...rows, logits: new Float64Array(6) }),
    error: TypeError,
    message:
      "logprobs: expected logits [T, V] to be a Float32Array, or { dtype, data } of bf16, f16 or f32, received a Float64Array of length 6",
  },
  {
    name: "floats where ids belong",
    call: () => ops.logprobs({ ...rows, targets: wrong(new Float32Array(2)) as unknown as Int32Array }),
    error: TypeError,
    message: "logprobs: expected targets [N] to be an Int32Array, received a Float32Array of length 2",
  },
  {
    name: "nothing",
    call: () => ops.logprobs({ ...rows, logits: wrong(undefined) }),
    error: TypeError,
    message:
      "logprobs: expected logits [T, V] to be a Float32Array, or { dtype, data } of bf16, f16 or f32, received undefined",
  },
  {
    name: "logits that are no whole number of rows",
    call: () => ops.logprobs({ ...rows, logits: new Float32Array(7) }),
    error: RangeError,
    message: "logprobs: expected the length of logits [T, V] to be a positive multiple of T = 2, received 7",
  },
  {
    name: "an id beyond the vocabulary",
    call: () => ops.logprobs({ ...rows, targets: Int32Array.of(0, 3) }),
    error: RangeError,
    message: "logprobs: expected targets [N] in 0 … 2, received 3 at index 1",
  },
  {
    name: "a negative id",
    call: () => ops.logprobs({ ...rows, targets: Int32Array.of(-1, 0) }),
    error: RangeError,
    message: "logprobs: expected targets [N] in 0 … 2, received -1 at index 0",
  },
  {
    name: "offsets that fall",
    call: () => ops.logprobs({ ...rows, targetOffsets: Int32Array.of(0, 2, 1) }),
    error: RangeError,
    message: "logprobs: expected targetOffsets [T + 1] not to fall, received 2 and 1 at index 1 and 2",
  },
  {
    name: "offsets that end elsewhere",
    call: () => ops.logprobs({ ...rows, targetOffsets: Int32Array.of(0, 1, 1) }),
    error: RangeError,
    message: "logprobs: expected targetOffsets [T + 1] to end with 2, received 1",
  },
  {
    name: "a temperature of 0",
    call: () => ops.logprobs({ ...rows, temperature: 0 }),
    error: RangeError,
    message: "logprobs: expected temperature to be a positive number, received number 0",
  },
  {
    name: "a temperature per row with a NaN",
    call: () => ops.logprobs({ ...rows, temperature: Float32Array.of(1, NaN) }),
    error: RangeError,
    message: "logprobs: expected temperature [T] to be positive, received NaN at index 1",
  },
  {
    name: "an output of another length",
    call: () => ops.logprobs({ ...rows, lse: new Float32Array(3) }),
    error: RangeError,
    message: "logprobs: expected lse [T] to be a Float32Array of length 2, received a Float32Array of length 3",
  },
  {
    name: "an entropy gradient without the entropy",
    call: () =>
      ops.logprobsBackward({
        ...rows,
        lse: new Float32Array(2),
        dlogprobs: new Float32Array(2),
        dentropy: new Float32Array(2),
      }),
    error: RangeError,
    message: "logprobsBackward: expected entropy [T] with dentropy, received none",
  },
  {
    name: "a head whose weight does not fit the hidden states",
    call: () => ops.linearLogprobs({ ...head, weight: new Float32Array(10) }),
    error: RangeError,
    message: "linearLogprobs: expected the length of weight [V, H] to be a multiple of 4, received 10",
  },
  {
    name: "an id beyond the head's vocabulary",
    call: () => ops.linearLogprobs({ ...head, targets: Int32Array.of(0, 3) }),
    error: RangeError,
    message: "linearLogprobs: expected targets [N] in 0 … 2, received 3 at index 1",
  },
  {
    name: "a bias of another vocabulary",
    call: () => ops.linearLogprobs({ ...head, bias: new Float32Array(4) }),
    error: RangeError,
    message: "linearLogprobs: expected bias [V] to be a Float32Array of length 3, received a Float32Array of length 4",
  },
  {
    name: "a softcap of 0",
    call: () => ops.linearLogprobs({ ...head, softcap: 0 }),
    error: RangeError,
    message: "linearLogprobs: expected softcap to be a positive number, received number 0",
  },
  {
    name: "the gradient of a head without its log-probabilities",
    call: () =>
      ops.linearLogprobsBackward({
        ...head,
        lse: new Float32Array(2),
        logprobs: wrong(undefined),
        dlogprobs: new Float32Array(2),
      }),
    error: TypeError,
    message: "linearLogprobsBackward: expected logprobs [N] to be a Float32Array of length 2, received undefined",
  },
  {
    name: "a credit row that does not exist",
    call: () => ops.scatterAdvantages({ stepCredits: new Float32Array(4), stepOf: Int32Array.of(0, 2) }),
    error: RangeError,
    message: "scatterAdvantages: expected stepOf [N] in -1 … 1, received 2 at index 1",
  },
  {
    name: "advantages of another length",
    call: () => ops.policyLoss.clip({ ...loss, advantages: new Float32Array(3) }),
    error: RangeError,
    message:
      "policyLoss.clip: expected advantages [N, 2] to be a Float32Array of length 4, received a Float32Array of length 3",
  },
  {
    name: "a clip bound below 0",
    call: () => ops.policyLoss.clip({ ...loss, epsLow: -0.1 }),
    error: RangeError,
    message: "policyLoss.clip: expected epsLow to be a number in 0 … 1, received number -0.1",
  },
  {
    name: "a dual clip of 1",
    call: () => ops.policyLoss.clip({ ...loss, dualClip: 1 }),
    error: RangeError,
    message: "policyLoss.clip: expected dualClip to be a number > 1, received number 1",
  },
  {
    name: "a KL penalty without a reference",
    call: () => ops.policyLoss.clip({ ...loss, kl: { estimator: "k3", coefficient: 0.1 } }),
    error: RangeError,
    message: "policyLoss.clip: expected refLogprobs [N] with kl, received none",
  },
  {
    name: "an upper bound of the ratio given as its distance from 1",
    call: () => ops.policyLoss.cispo({ ...loss, ratioMax: 0.28 }),
    error: RangeError,
    message: "policyLoss.cispo: expected ratioMax to be a number ≥ 1 (a ratio, not an ε), received number 0.28",
  },
  {
    name: "a lower bound of the ratio above 1",
    call: () => ops.policyLoss.cispo({ ...loss, ratioMin: 1.5, ratioMax: 2 }),
    error: RangeError,
    message: "policyLoss.cispo: expected ratioMin to be a number in 0 … 1, received number 1.5",
  },
  {
    name: "a gate without sharpness",
    call: () => ops.policyLoss.sapo({ ...loss, tauPositive: 1, tauNegative: 0 }),
    error: RangeError,
    message: "policyLoss.sapo: expected tauNegative to be a positive number, received number 0",
  },
  {
    name: "a divergence below 0",
    call: () => ops.policyLoss.dppoTv({ ...loss, epsHigh: -1 }),
    error: RangeError,
    message: "policyLoss.dppoTv: expected epsHigh to be a number ≥ 0, received number -1",
  },
  {
    name: "a cap of 0 on the ratio",
    call: () => ops.policyLoss.dppoKl({ ...loss, ratioCap: 0 }),
    error: RangeError,
    message: "policyLoss.dppoKl: expected ratioCap to be a number > 0, received number 0",
  },
  {
    name: "sequences that do not end with the targets",
    call: () => ops.policyLoss.gmpo({ ...loss, sequenceOffsets: Int32Array.of(0, 1) }),
    error: RangeError,
    message: "policyLoss.gmpo: expected sequenceOffsets [B + 1] to end with 2, received 1",
  },
  {
    name: "a bound of a mean log ratio that is no number",
    call: () => ops.policyLoss.gspoToken({ ...loss, sequenceOffsets: Int32Array.of(0, 2), sequenceLogRatioMax: NaN }),
    error: RangeError,
    message: "policyLoss.gspoToken: expected sequenceLogRatioMax to be a number, received number NaN",
  },
  {
    name: "a KL penalty without a reference, in another form of the loss",
    call: () => ops.policyLoss.reinforce({ ...loss, kl: { estimator: "k2", coefficient: 1 } }),
    error: RangeError,
    message: "policyLoss.reinforce: expected refLogprobs [N] with kl, received none",
  },
  {
    name: "a clip of values without the old values",
    call: () =>
      ops.valueLoss({
        values: new Float32Array(2),
        returns: new Float32Array(2),
        weights: new Float32Array(2),
        clip: 0.2,
      }),
    error: RangeError,
    message: "valueLoss: expected oldValues [N] with clip, received none",
  },
  {
    name: "values of another length",
    call: () =>
      ops.valueLoss({ values: new Float32Array(2), returns: new Float32Array(3), weights: new Float32Array(2) }),
    error: RangeError,
    message: "valueLoss: expected returns [N] to be a Float32Array of length 2, received a Float32Array of length 3",
  },
  {
    name: "a row without any token to sample",
    call: () =>
      ops.sample({
        logits: Float32Array.of(0, 1, -Infinity, -Infinity),
        seed: 1,
        streams: Int32Array.of(0, 1),
        positions: Int32Array.of(0, 0),
      }),
    error: RangeError,
    message: "sample: expected a row of logits [R, V] to hold a number above −∞ and no NaN, received row 1 without",
  },
  {
    name: "a row of NaN to sample",
    call: () =>
      ops.sample({
        logits: Float32Array.of(NaN, 1),
        seed: 1,
        streams: Int32Array.of(0),
        positions: Int32Array.of(0),
      }),
    error: RangeError,
    message: "sample: expected a row of logits [R, V] to hold a number above −∞ and no NaN, received row 0 without",
  },
  {
    name: "a seed that is no integer",
    call: () =>
      ops.sample({ logits: new Float32Array(2), seed: 0.5, streams: Int32Array.of(0), positions: Int32Array.of(0) }),
    error: RangeError,
    message: "sample: expected seed to be an integer ≥ 0, received number 0.5",
  },
  {
    name: "subtrees that cross",
    call: () => ops.treeAttention({ ...attention, subtreeEnd: Int32Array.of(1, 3) }),
    error: RangeError,
    message: "treeAttention: expected subtreeEnd [T] at 1 in 2 … 2, received 3",
  },
  {
    name: "a window of nothing",
    call: () => ops.treeAttention({ ...attention, window: 0, subtreeEnd: Int32Array.of(2, 2) }),
    error: RangeError,
    message: "treeAttention: expected window to be an integer ≥ 1, received number 0",
  },
  {
    name: "a slot outside the cache",
    call: () =>
      ops.decodeAttention({
        q: new Float32Array(4),
        keys: new Float32Array(8),
        values: new Float32Array(8),
        slotOffsets: Int32Array.of(0, 1),
        slots: Int32Array.of(2),
        out: new Float32Array(4),
        heads: 1,
        kvHeads: 1,
        headSize: 4,
        scale: 1,
      }),
    error: RangeError,
    message: "decodeAttention: expected slots [K] in 0 … 1, received 2 at index 0",
  },
  {
    name: "a weight of another size",
    call: () => ops.linear({ x: new Float32Array(6), weight: new Float32Array(5), y: new Float32Array(4), rows: 2 }),
    error: RangeError,
    message: "linear: expected weight [O, I] to have 2 · 3 = 6 elements, received 5",
  },
  {
    name: "a first step numbered 0",
    call: () => {
      const params = new Float32Array(1);
      ops.adamw({
        params,
        grads: params,
        m: params,
        v: params,
        step: 0,
        lr: 1,
        beta1: 0.9,
        beta2: 0.9,
        eps: 0,
        weightDecay: 0,
        gradScale: 1,
      });
    },
    error: RangeError,
    message: "adamw: expected step to be an integer ≥ 1, received number 0",
  },
  {
    name: "step offsets that overlap",
    call: () => ops.scatterAdvantages({ stepCredits: new Float32Array(6), stepOffsets: Int32Array.of(0, 3, 2, 5) }),
    error: RangeError,
    message: "scatterAdvantages: expected stepOffsets [S + 1] not to fall, received 3 and 2 at index 1 and 2",
  },
  {
    name: "step offsets beyond the targets",
    call: () =>
      ops.scatterAdvantages({ stepCredits: new Float32Array(2), stepOffsets: Int32Array.of(0, 3), targets: 2 }),
    error: RangeError,
    message: "scatterAdvantages: expected stepOffsets [S + 1] in 0 … 2, received 3 at index 1",
  },
  {
    name: "step offsets of another number of steps",
    call: () => ops.scatterAdvantages({ stepCredits: new Float32Array(4), stepOffsets: Int32Array.of(0, 3) }),
    error: RangeError,
    message: "scatterAdvantages: expected stepOffsets [S + 1] to be an Int32Array of length 3, received a",
  },
  {
    name: "a negative exponent",
    call: () =>
      ops.policyLoss.vespo({
        ...loss,
        sequenceOffsets: Int32Array.of(0, loss.logprobs.length),
        kPositive: -1,
        lambdaPositive: 1,
        kNegative: 1,
        lambdaNegative: 1,
      }),
    error: RangeError,
    message: "policyLoss.vespo: expected kPositive to be a finite number ≥ 0, received number -1",
  },
  {
    name: "an unknown instruction set",
    call: () => openOps("cpu", { isa: "mmx" }),
    error: RangeError,
    message: "openOps: expected isa to be one of",
  },
  {
    name: "no threads",
    call: () => {
      setNumThreads(0);
    },
    error: RangeError,
    message: "setNumThreads: expected threads to be an integer in 1 … 256, received number 0",
  },
];

describe("a bad argument is refused before anything is computed", () => {
  it.each(cases)("$name", ({ call, error, message }) => {
    expect(call).toThrow(error);
    expect(call).toThrow(message);
  });

  it("a cuda device that is not there is an error, not the CPU", () => {
    process.env["STEPCREDIT_CUDA_PLUGIN"] = "/nowhere/stepcredit_cuda.so";
    expect(() => openOps("cuda")).toThrow(
      /^openOps: CUDA is not-built: there is no file \/nowhere\/stepcredit_cuda\.so\. Remedy: .*npx stepcredit build --cuda/,
    );
    delete process.env["STEPCREDIT_CUDA_PLUGIN"];
  });
});

describe("numbers that are not finite are a defined result", () => {
  it("a NaN logit makes its own row NaN and no other", () => {
    const { logprobs } = ops.logprobs({ ...rows, logits: Float32Array.of(0, NaN, 0, 1, 2, 3) });
    expect(logprobs[0]).toBeNaN();
    expect(logprobs[1]).toBeCloseTo(-Math.log(Math.exp(-2) + Math.exp(-1) + 1), 6);
  });

  it("no targets at all give no log-probs and no loss", () => {
    const none = new Float32Array(0);
    const { logprobs } = ops.logprobs({ logits: none, targetOffsets: Int32Array.of(0), targets: new Int32Array(0) });
    expect(logprobs).toHaveLength(0);
    const { metrics } = ops.policyLoss.clip({
      logprobs: none,
      oldLogprobs: none,
      advantages: none,
      weights: none,
      epsLow: 0.2,
      epsHigh: 0.2,
    });
    expect(metrics).toMatchObject({ loss: 0, count: 0, clipFraction: 0, approxKl: 0 });
  });
});
