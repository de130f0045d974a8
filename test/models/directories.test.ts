import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { packSequences } from "../../src/batch.ts";
import { openOps } from "../../src/ops/native.ts";
import { AdamW } from "../../src/optimizer.ts";
import { TransformerPolicy } from "../../src/policies/transformer.ts";
import { Random } from "../../src/random.ts";
import { configOf, randomWeights, smallShape, writeModelDirectory, writeTensors } from "../support/model-directory.ts";

let folder = "";
let counter = 0;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), "stepcredit-"))));
afterAll(() => rmSync(folder, { recursive: true }));

const ops = openOps("cpu", { blas: false });
const fresh = () => join(folder, String(counter++));
const bytesOf = (directory: string) =>
  Object.fromEntries(
    readdirSync(directory)
      .sort()
      .map((name) => [name, readFileSync(join(directory, name), "base64")]),
  );

function llama(
  config: Readonly<Record<string, unknown>> = {},
  change?: (tensors: ReturnType<typeof randomWeights>) => void,
) {
  const tensors = randomWeights(smallShape, {}, 1);
  change?.(tensors);
  return writeModelDirectory(fresh(), configOf(smallShape, "llama", config), tensors);
}

describe("a saved policy", () => {
  it.each([
    ["one file", {}],
    ["several files", { maxFileBytes: 3000 }],
    ["bf16", { dtype: "bf16" }],
    ["f16", { dtype: "f16" }],
  ] as const)("reloads and saves to the same bytes: %s", async (_name, options) => {
    const policy = await TransformerPolicy.load(llama(), { ops });
    const [first, second] = [fresh(), fresh()];
    await policy.save(first, options);
    const again = await TransformerPolicy.load(first, { ops });
    await again.save(second, options);
    expect(bytesOf(second)).toEqual(bytesOf(first));
    if (!("dtype" in options)) {
      policy.parameters().forEach(({ data }, i) => expect(again.parameters()[i].data).toEqual(data));
    }
  });

  it("keeps what its config said, and takes the tokenizer's files along", async () => {
    const directory = llama({ initializer_range: 0.02, eos_token_id: [4, 5] });
    writeFileSync(join(directory, "generation_config.json"), "{}");
    const policy = await TransformerPolicy.load(directory, { ops });
    expect(policy.endTokens).toEqual([4, 5]);
    const saved = fresh();
    await policy.save(saved, { dtype: "bf16" });
    const config = JSON.parse(readFileSync(join(saved, "config.json"), "utf8")) as Record<string, unknown>;
    expect(config).toMatchObject({ initializer_range: 0.02, eos_token_id: [4, 5], torch_dtype: "bfloat16" });
    expect(readdirSync(saved).sort()).toEqual(["config.json", "generation_config.json", "model.safetensors"]);
  });

  it.each([
    ["plain", {}],
    ["with biases", { qkvBias: true }],
    ["with normalised heads", { qkNorm: true, tieEmbeddings: true }],
    ["with a position table", { positionTable: true }],
    ["stretched", { ropeScaling: { type: "linear", factor: 2 } as const }],
  ])("that was made here loads as what it was: %s", async (_name, parts) => {
    const shape = { vocabulary: 11, hidden: 8, layers: 1, heads: 2, intermediate: 12, maxPositions: 16 };
    const policy = TransformerPolicy.create({ ...shape, ...parts }, { random: new Random(1).next }, { ops });
    const saved = fresh();
    await policy.save(saved);
    const loaded = await TransformerPolicy.load(saved, { ops });
    const batch = packSequences([[1, 2, 3, 4, 10, 0]]);
    expect(loaded.logprobs(batch)).toEqual(policy.logprobs(batch));
    expect(loaded.config).toEqual(policy.config);
  });

  it("says when no model type has its parts", async () => {
    const shape = { vocabulary: 11, hidden: 8, layers: 1, heads: 2, intermediate: 12, maxPositions: 16 };
    const policy = new TransformerPolicy({ ...shape, qkNorm: true, mlpBias: true }, { ops });
    await expect(policy.save(fresh())).rejects.toThrow("no Hugging Face model type has this combination");
  });
});

describe("a directory is refused", () => {
  const index = (map: unknown, change: (directory: string) => void = () => undefined) => {
    const directory = llama();
    writeTensors(join(directory, "model-1.safetensors"), randomWeights(smallShape, {}, 1));
    rmSync(join(directory, "model.safetensors"));
    writeFileSync(join(directory, "model.safetensors.index.json"), JSON.stringify({ weight_map: map }));
    change(directory);
    return directory;
  };
  const all = (file: unknown) =>
    Object.fromEntries([...randomWeights(smallShape, {}, 1).keys()].map((name) => [name, file]));

  it.each([
    [
      "of another architecture",
      () => llama({ model_type: "gpt2" }),
      /config\.json: expected model_type to be one of llama, .*received "gpt2"/,
    ],
    [
      "with another activation",
      () => llama({ hidden_act: "gelu" }),
      /config\.json: expected hidden_act to be "silu", received "gelu"/,
    ],
    [
      "with quantized weights",
      () => llama({ quantization_config: {} }),
      /config\.json: expected quantization_config to be absent/,
    ],
    [
      "with an unknown scaling",
      () => llama({ rope_scaling: { rope_type: "longrope", factor: 2 } }),
      /config\.json: expected rope_scaling\.rope_type to be one of default, linear/,
    ],
    [
      "without a size",
      () => llama({ hidden_size: undefined }),
      /config\.json: expected hidden_size to be a number > 0, received none/,
    ],
    [
      "with a size that is text",
      () => llama({ vocab_size: "19" }),
      /config\.json: expected vocab_size to be a number > 0, received "19"/,
    ],
    [
      "with a window that is no number",
      () => llama({ model_type: "mistral", sliding_window: "8" }),
      /config\.json: expected sliding_window to be a number > 0, received "8"/,
    ],
    [
      "with a window for other layers than it has",
      () => llama({ model_type: "mistral", sliding_window: 8, layer_types: ["full_attention"] }),
      /config\.json: expected layer_types to be 2 times sliding_attention or full_attention/,
    ],
    [
      "without a tensor",
      () => llama({}, (tensors) => tensors.delete("model.norm.weight")),
      /model\.safetensors: expected tensor "model\.norm\.weight", found none/,
    ],
    [
      "with a tensor too many",
      () => llama({}, (tensors) => tensors.set("model.extra", { shape: [1], data: new Float32Array(1) })),
      /model\.safetensors: tensor "model\.extra" is not one of this architecture's/,
    ],
    [
      "with a bias where the config has none",
      () =>
        llama({}, (tensors) =>
          tensors.set("model.layers.0.self_attn.q_proj.bias", { shape: [24], data: new Float32Array(24) }),
        ),
      /q_proj\.bias" is not one of this architecture's/,
    ],
    [
      "with a tensor of another shape",
      () => llama({ intermediate_size: 21 }),
      /model\.safetensors: expected shape of "model\.layers\.0\.mlp\.gate_proj\.weight" to be \[21, 24\], received \[20, 24\]/,
    ],
    [
      "whose index leads out of it",
      () => index(all("../model-1.safetensors")),
      /index\.json: expected weight_map of .* to be the name of a safetensors file in the same directory, received "\.\.\/model-1\.safetensors"/,
    ],
    ["whose index names an absolute path", () => index(all("/etc/passwd")), /index\.json: expected weight_map/],
    ["whose index names no file", () => index(all(3)), /index\.json: expected weight_map of .*received 3/],
    ["whose index is a list", () => index([]), /index\.json: expected weight_map to be an object/],
    [
      "whose index names a tensor that its file has not",
      () => index({ ...all("model-1.safetensors"), nowhere: "model-1.safetensors" }),
      /index\.json: expected weight_map of "nowhere" to name its file/,
    ],
    ["whose index names a file that is missing", () => index(all("model-2.safetensors")), /model-2\.safetensors/],
    [
      "without weights",
      () => index(all("model-1.safetensors"), (at) => rmSync(join(at, "model.safetensors.index.json"))),
      /expected model\.safetensors or model\.safetensors\.index\.json, found neither/,
    ],
  ])("%s, and the file and the field are named", async (_name, directory, message) => {
    await expect(TransformerPolicy.load(directory(), { ops })).rejects.toThrow(message);
  });

  it("but not for a head beside a tied embedding, or for angles", async () => {
    const tensors = randomWeights(smallShape, {}, 1);
    tensors.set("model.layers.0.self_attn.rotary_emb.inv_freq", { shape: [3], data: new Float32Array(3) });
    const directory = writeModelDirectory(
      fresh(),
      configOf(smallShape, "llama", { tie_word_embeddings: true }),
      tensors,
    );
    const policy = await TransformerPolicy.load(directory, { ops });
    expect(policy.parameters().some(({ name }) => name === "lm_head.weight")).toBe(false);
  });
});

describe("a loaded policy", () => {
  it("generates for prompts of different lengths what it generates for each alone", async () => {
    const policy = await TransformerPolicy.load(llama(), { ops });
    const prompts = [[1, 2, 3], [1, 2], [7], [1, 2, 3, 4, 5, 6]];
    const together = await policy.generate(prompts, { maxTokens: 6, temperature: 0 });
    for (const [i, prompt] of prompts.entries()) {
      const [alone] = await policy.generate([prompt], { maxTokens: 6, temperature: 0 });
      expect(together[i]).toEqual(alone);
    }
  });

  it("gives log-probs that its sampling and its training agree on to the bit, and reads a shared prefix once", async () => {
    const policy = await TransformerPolicy.load(llama(), { ops });
    const before = policy.computedTokens;
    const prompt = [1, 2, 3, 4, 5, 6, 7, 8];
    const drawn = await policy.generate([prompt, prompt, prompt], { maxTokens: 5, seed: 3 });
    const prefixes = new Set(
      drawn.flatMap(({ tokens }) => tokens.slice(0, -1).map((_, i) => tokens.slice(0, i + 1).join())),
    );
    expect(policy.computedTokens - before).toBe(prompt.length + prefixes.size);
    for (const { tokens, logprobs } of drawn) {
      const batch = packSequences([[...prompt, ...tokens]], { from: [prompt.length] });
      expect(Array.from(policy.logprobs(batch))).toEqual([...logprobs]);
    }
  });

  it("ends at a token, at a run of tokens or at the most it may", async () => {
    const policy = await TransformerPolicy.load(llama(), { ops });
    const [{ tokens }] = await policy.generate([[1]], { maxTokens: 12, temperature: 0 });
    const ended = async (options: object) =>
      (await policy.generate([[1]], { maxTokens: 12, temperature: 0, ...options }))[0].tokens;
    const firstOf = (sequence: readonly number[]) =>
      tokens.findIndex((_, i) => sequence.every((token, k) => tokens[i + k] === token)) + sequence.length;
    expect(await ended({ stop: [tokens[3]] })).toEqual(tokens.slice(0, firstOf([tokens[3]])));
    const run = tokens.slice(4, 7);
    expect(await ended({ stopSequences: [run] })).toEqual(tokens.slice(0, firstOf(run)));
    expect(await ended({ maxTokens: 2 })).toEqual(tokens.slice(0, 2));
    await expect(policy.generate(["text"], { maxTokens: 1 })).rejects.toThrow(
      "expected token ids, as there is no tokenizer",
    );
  });

  it("takes a gradient with or without the pass of logprobs before it, and steps on it", async () => {
    const directory = llama();
    const batch = packSequences([
      [1, 2, 3, 4],
      [1, 5],
    ]);
    const dlogprobs = Float32Array.from(batch.targets, () => -1);
    const gradients = async (measure: boolean) => {
      const policy = await TransformerPolicy.load(directory, { ops });
      if (measure) policy.logprobs(batch);
      policy.backward(batch, dlogprobs);
      return { policy, grads: policy.parameters().map(({ grad }) => grad.slice()) };
    };
    const [{ policy, grads }, other] = [await gradients(true), await gradients(false)];
    expect(other.grads).toEqual(grads);
    const mean = () => Array.from(policy.logprobs(batch)).reduce((sum, x) => sum + x, 0);
    const before = mean();
    policy.step(new AdamW({ lr: 1e-3 }));
    expect(mean()).toBeGreaterThan(before);
  });

  it("cannot be used after it is disposed of", async () => {
    const policy = await TransformerPolicy.load(llama(), { ops });
    policy.dispose();
    expect(() => policy.logprobs(packSequences([[1, 2]]))).toThrow(
      "TransformerPolicy: expected forward before dispose",
    );
    await expect(policy.generate([[1]], { maxTokens: 1 })).rejects.toThrow("before dispose");
    await expect(policy.save(fresh())).rejects.toThrow("before dispose");
  });
});
