/** A small model directory with a tokenizer of letters: a token each, and an end. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { configOf, randomWeights, smallShape, writeModelDirectory } from "./model-directory.ts";

export const endToken = smallShape.V - 1;
const letters = "abcdefghijklmnopqr";

/** Writes it, with a chat template that puts a `q` before and an `a` behind the message; gives the path. */
export function writeLettersModel(path: string): string {
  const config = configOf(smallShape, "llama", { eos_token_id: endToken });
  writeModelDirectory(path, config, randomWeights(smallShape, {}, 5));
  const end = { id: endToken, content: "<end>", special: true, single_word: false, lstrip: false, rstrip: false };
  const tokenizer = {
    version: "1.0",
    added_tokens: [{ ...end, normalized: false }],
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      vocab: Object.fromEntries(Array.from(letters, (c, id) => [c, id])),
      merges: [],
      unk_token: null,
    },
  };
  writeFileSync(join(path, "tokenizer.json"), JSON.stringify(tokenizer));
  const template = "{% for m in messages %}q{{ m.content }}{% endfor %}a";
  writeFileSync(join(path, "tokenizer_config.json"), JSON.stringify({ chat_template: template }));
  return path;
}
