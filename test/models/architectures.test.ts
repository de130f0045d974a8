import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { packSequences } from "../../src/batch.ts";
import { openOps } from "../../src/ops/native.ts";
import { reference } from "../../src/ops/reference.ts";
import { TransformerPolicy } from "../../src/policies/transformer.ts";
import { onHost } from "../../src/ops/storage.ts";
import { llamaLogits } from "../support/llama.ts";
import {
  configOf,
  randomWeights,
  smallShape,
  weightsOf,
  writeModelDirectory,
  type ModelParts,
} from "../support/model-directory.ts";

let folder = "";
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), "stepcredit-"))));
afterAll(() => rmSync(folder, { recursive: true }));

const { D } = smallShape;
const plain = Array.from({ length: D / 2 }, (_, i) => 1 / 10000 ** ((2 * i) / D));
const wavelength = (frequency: number): number => (2 * Math.PI) / frequency;

interface Architecture {
  readonly name: string;
  readonly modelType: string;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly parts?: ModelParts;
  readonly frequencies?: readonly number[];
  readonly amplitude?: number;
  readonly windows?: readonly (number | null)[];
}

const llama3 = {
  rope_type: "llama3",
  factor: 8,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 16,
};

const architectures: readonly Architecture[] = [
  { name: "Llama", modelType: "llama" },
  { name: "Llama with a tied head", modelType: "llama", config: { tie_word_embeddings: true }, parts: { tied: true } },
  {
    name: "Llama with biases everywhere",
    modelType: "llama",
    config: { attention_bias: true, mlp_bias: true },
    parts: { qkvBias: true, outputBias: true, mlpBias: true },
  },
  { name: "Mistral", modelType: "mistral", config: { sliding_window: null } },
  {
    name: "Mistral with a window",
    modelType: "mistral",
    config: { sliding_window: 3 },
    parts: {},
    windows: [3, 3],
  },
  {
    name: "Qwen2",
    modelType: "qwen2",
    config: { use_sliding_window: false, sliding_window: 32 },
    parts: { qkvBias: true },
  },
  {
    name: "Qwen2 with a window in its upper layers",
    modelType: "qwen2",
    config: { use_sliding_window: true, sliding_window: 4, max_window_layers: 1 },
    parts: { qkvBias: true },
    windows: [null, 4],
  },
  { name: "Qwen3", modelType: "qwen3", parts: { qkNorm: true } },
  {
    name: "Qwen3 with a window in the layers it names",
    modelType: "qwen3",
    config: {
      use_sliding_window: true,
      sliding_window: 2,
      layer_types: ["sliding_attention", "full_attention"],
    },
    parts: { qkNorm: true },
    windows: [2, null],
  },
  {
    name: "linear scaling",
    modelType: "llama",
    config: { rope_scaling: { type: "linear", factor: 4 } },
    frequencies: plain.map((frequency) => frequency / 4),
  },
  {
    // The base grows with the longest sequence, here the 64 positions of a model trained on 16.
    name: "dynamic scaling",
    modelType: "llama",
    config: { rope_scaling: { rope_type: "dynamic", factor: 2, original_max_position_embeddings: 16 } },
    frequencies: plain.map((_, i) => 1 / (10000 * ((2 * 64) / 16 - 1) ** (D / (D - 2))) ** ((2 * i) / D)),
  },
  {
    name: "llama3 scaling",
    modelType: "llama",
    config: { rope_parameters: { ...llama3, rope_theta: 10000 } },
    frequencies: plain.map((frequency) => {
      const [low, high] = [16 / 1, 16 / 4];
      if (wavelength(frequency) > low) return frequency / 8;
      if (wavelength(frequency) < high) return frequency;
      const smooth = (16 / wavelength(frequency) - 1) / (4 - 1);
      return ((1 - smooth) * frequency) / 8 + smooth * frequency;
    }),
  },
  {
    // Turns over the original 16 positions: 2.5, 0.12 and 0.005. Dimensions of 32 turns and of 1: −1.6 and 0.6, so the blend
    // goes from 0 to 1, of which dimension 0 is kept and the others are stretched.
    name: "yarn scaling",
    modelType: "llama",
    config: { rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 16 } },
    frequencies: plain.map((frequency, i) => (i === 0 ? frequency : frequency / 4)),
    amplitude: 0.1 * Math.log(4) + 1,
  },
];

const tokens = [3, 1, 18, 0, 7, 7, 2, 11, 5, 16, 4, 9, 13, 8];

describe("a random checkpoint gives the logits of an independent float64 forward", () => {
  it.each(architectures)("$name", async (architecture) => {
    const { name, modelType, config = {}, parts = {}, frequencies = plain, amplitude = 1 } = architecture;
    const { windows = [null, null] } = architecture;
    const tensors = randomWeights(smallShape, parts, name.length);
    const directory = writeModelDirectory(join(folder, name), configOf(smallShape, modelType, config), tensors);
    const double = await TransformerPolicy.load(directory, { ops: reference() });
    const expected = llamaLogits(
      { ...double.config, frequencies, amplitude, windows },
      weightsOf(tensors),
      tokens,
    ).flat();
    const batch = packSequences([tokens]);
    expectWithin(onHost(double.forward(batch).logits), expected, 1e-10);

    const single = await TransformerPolicy.load(directory, { ops: openOps("cpu", { blas: false }) });
    expectWithin(onHost(single.forward(batch).logits), expected, 2e-4);
    const [{ logprobs }] = await single.generate([tokens.slice(0, 6)], { maxTokens: 8, temperature: 1, seed: 5 });
    expect(logprobs).toHaveLength(8);
  });
});

function expectWithin(actual: ArrayLike<number>, expected: readonly number[], tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  const size = Math.max(...expected.map(Math.abs));
  const worst = Math.max(...expected.map((value, i) => Math.abs(value - actual[i])));
  expect(worst / size).toBeLessThan(tolerance);
}

describe("gradients through every part of an architecture", () => {
  it.each(architectures.filter(({ parts }) => parts !== undefined))(
    "$name: differences agree",
    async (architecture) => {
      const { name, modelType, config = {}, parts = {} } = architecture;
      const shape = { ...smallShape, layers: config["layer_types"] === undefined ? 1 : 2 };
      const tensors = randomWeights(shape, parts, 3);
      const directory = writeModelDirectory(join(folder, `one ${name}`), configOf(shape, modelType, config), tensors);
      const policy = await TransformerPolicy.load(directory, { ops: reference() });
      const batch = packSequences([tokens.slice(0, 5), tokens.slice(3, 7)]);
      const dlogprobs = Float64Array.from(batch.targets, (_, n) => Math.cos(n + 1));
      const value = (): number => Array.from(policy.logprobs(batch)).reduce((sum, x, n) => sum + x * dlogprobs[n], 0);
      policy.backward(batch, dlogprobs);
      for (const { name: tensor, data, grad } of policy.parameters()) {
        for (const i of [0, data.length >> 1, data.length - 1]) {
          const [kept, h] = [data[i], 1e-5];
          data[i] = kept + h;
          const above = value();
          data[i] = kept - h;
          const below = value();
          data[i] = kept;
          expect(Math.abs((above - below) / (2 * h) - grad[i]), `${tensor}[${i}]`).toBeLessThan(
            1e-6 * (1 + Math.abs(grad[i])),
          );
        }
      }
    },
  );
});
