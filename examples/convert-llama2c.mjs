// A llama2.c model as a Hugging Face directory, which TransformerPolicy.load and other tools read:
//
//   npm run build && node examples/convert-llama2c.mjs stories260K.bin tok512.bin DIRECTORY
//
// The format is that of github.com/karpathy/llama2.c, version 0: seven integers, then tensors in f32. Its rotary embedding turns
// neighbouring numbers (2i, 2i + 1); Hugging Face turns (i, i + D/2), so the rows of the query and key weights change places.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { saveSafetensors } from "../dist/index.js";

const [modelPath, tokenizerPath, directory, ...rest] = process.argv.slice(2);
if (directory === undefined || rest.length > 0) {
  console.error("usage: node examples/convert-llama2c.mjs MODEL.bin TOKENIZER.bin DIRECTORY");
  process.exit(2);
}

// ── the model

const bytes = readFileSync(modelPath);
const header = Array.from({ length: 7 }, (_, i) => bytes.readInt32LE(4 * i));
const [H, F, layers, heads, kvHeads, signedV, positions] = header;
const V = Math.abs(signedV);
const tied = signedV > 0;
const D = H / heads;
if (bytes.length < 28 + 4 * V * H || !Number.isInteger(D) || D % 2 !== 0) {
  console.error(`${modelPath}: expected a llama2.c model of version 0, received the header ${header.join(" ")}`);
  process.exit(1);
}

let offset = 28;
function take(...shape) {
  const count = shape.reduce((product, size) => product * size, 1);
  const data = Float32Array.from({ length: count }, (_, i) => bytes.readFloatLE(offset + 4 * i));
  offset += 4 * count;
  return data;
}

/** Rows (2i, 2i + 1) of every head to the places (i, i + D/2). */
function halfSplit(weight, count) {
  const out = new Float32Array(weight.length);
  for (let head = 0; head < count; head++) {
    for (let row = 0; row < D; row++) {
      const to = head * D + (row % 2) * (D / 2) + (row >> 1);
      out.set(weight.subarray((head * D + row) * H, (head * D + row + 1) * H), to * H);
    }
  }
  return out;
}

const perLayer = (...shape) => Array.from({ length: layers }, () => take(...shape));
const embedding = take(V, H);
const inputNorm = perLayer(H);
const q = perLayer(heads * D, H);
const k = perLayer(kvHeads * D, H);
const v = perLayer(kvHeads * D, H);
const o = perLayer(H, heads * D);
const postNorm = perLayer(H);
const gate = perLayer(F, H);
const down = perLayer(H, F);
const up = perLayer(F, H);
const norm = take(H);
take(positions, D); // the angles' cosines and sines, which follow from the config
const head = tied ? undefined : take(V, H);
if (offset !== bytes.length) {
  console.error(`${modelPath}: expected ${offset} bytes by its header, received ${bytes.length}`);
  process.exit(1);
}

const tensor = (name, shape, data) => ({ name, shape, data });
const tensors = [
  tensor("model.embed_tokens.weight", [V, H], embedding),
  ...Array.from({ length: layers }, (_, l) => [
    tensor(`model.layers.${l}.input_layernorm.weight`, [H], inputNorm[l]),
    tensor(`model.layers.${l}.self_attn.q_proj.weight`, [heads * D, H], halfSplit(q[l], heads)),
    tensor(`model.layers.${l}.self_attn.k_proj.weight`, [kvHeads * D, H], halfSplit(k[l], kvHeads)),
    tensor(`model.layers.${l}.self_attn.v_proj.weight`, [kvHeads * D, H], v[l]),
    tensor(`model.layers.${l}.self_attn.o_proj.weight`, [H, heads * D], o[l]),
    tensor(`model.layers.${l}.post_attention_layernorm.weight`, [H], postNorm[l]),
    tensor(`model.layers.${l}.mlp.gate_proj.weight`, [F, H], gate[l]),
    tensor(`model.layers.${l}.mlp.up_proj.weight`, [F, H], up[l]),
    tensor(`model.layers.${l}.mlp.down_proj.weight`, [H, F], down[l]),
  ]).flat(),
  tensor("model.norm.weight", [H], norm),
  ...(head === undefined ? [] : [tensor("lm_head.weight", [V, H], head)]),
];

// ── the tokenizer: pieces with scores, of which the highest that two neighbours make is merged first

const pieces = readFileSync(tokenizerPath);
const vocabulary = [];
for (let at = 4; at < pieces.length;) {
  const length = pieces.readInt32LE(at + 4);
  const text = pieces.toString("utf8", at + 8, at + 8 + length);
  vocabulary.push({
    text: vocabulary.length < 3 ? text.trim() : text.replaceAll(" ", "▁"),
    score: pieces.readFloatLE(at),
  });
  at += 8 + length;
}
const special = ["<unk>", "<s>", "</s>"];
special.forEach((text, id) => (vocabulary[id].text = text));
const idOf = new Map(vocabulary.map(({ text }, id) => [text, id]));
const merges = vocabulary
  .slice(3)
  .filter(({ text }) => !/^<0x[0-9A-F]{2}>$/.test(text))
  .flatMap(({ text, score }) => {
    const characters = Array.from(text);
    return characters
      .slice(1)
      .map((_, i) => [characters.slice(0, i + 1).join(""), characters.slice(i + 1).join("")])
      .filter((pair) => pair.every((part) => idOf.has(part)))
      .map((pair) => ({ pair, score }));
  })
  .sort((a, b) => b.score - a.score)
  .map(({ pair }) => pair.join(" "));

const added = special.map((content, id) => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
}));
const tokenizer = {
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: added,
  normalizer: {
    type: "Sequence",
    normalizers: [
      { type: "Prepend", prepend: "▁" },
      { type: "Replace", pattern: { String: " " }, content: "▁" },
    ],
  },
  pre_tokenizer: null,
  post_processor: {
    type: "TemplateProcessing",
    single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
    pair: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
    special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
  },
  decoder: {
    type: "Sequence",
    decoders: [
      { type: "Replace", pattern: { String: "▁" }, content: " " },
      { type: "ByteFallback" },
      { type: "Fuse" },
      { type: "Strip", content: " ", start: 1, stop: 0 },
    ],
  },
  model: {
    type: "BPE",
    dropout: null,
    unk_token: "<unk>",
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: true,
    byte_fallback: true,
    vocab: Object.fromEntries(vocabulary.map(({ text }, id) => [text, id])),
    merges,
  },
};

// ── the directory

mkdirSync(directory, { recursive: true });
const write = (name, value) => writeFileSync(join(directory, name), JSON.stringify(value, null, 2) + "\n");
await saveSafetensors(join(directory, "model.safetensors"), tensors);
write("tokenizer.json", tokenizer);
write("tokenizer_config.json", {
  bos_token: "<s>",
  eos_token: "</s>",
  unk_token: "<unk>",
  tokenizer_class: "PreTrainedTokenizerFast",
});
write("config.json", {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  vocab_size: V,
  hidden_size: H,
  intermediate_size: F,
  num_hidden_layers: layers,
  num_attention_heads: heads,
  num_key_value_heads: kvHeads,
  hidden_act: "silu",
  max_position_embeddings: positions,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  attention_bias: false,
  tie_word_embeddings: tied,
  // llama2.c separates texts by the beginning of the next one.
  bos_token_id: 1,
  eos_token_id: [1, 2],
  torch_dtype: "float32",
});
console.log(`${directory}: ${layers} layers, width ${H}, ${V} tokens, ${merges.length} merges`);
