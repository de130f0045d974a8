/** Tokenizers of a closed set of symbols, for tasks that need no learned vocabulary: characters, or words between spaces. */

import { checkIds, type Tokenizer } from "./tokenizer.ts";

/** Ids by the order of the symbols, special ones first. */
function symbolTokenizer(
  name: string,
  symbols: readonly string[],
  special: readonly string[],
  split: (text: string) => readonly string[],
  joint: string,
): Tokenizer {
  const all = [...special, ...symbols];
  const ids = new Map(all.map((symbol, id) => [symbol, id]));
  if (ids.size !== all.length) {
    const twice = all.find((symbol, id) => ids.get(symbol) !== id);
    throw new RangeError(`${name}: expected every symbol once, received ${JSON.stringify(twice)} again`);
  }
  return {
    vocabulary: all.length,
    encode(text) {
      return split(text).map((symbol, i) => {
        const id = ids.get(symbol);
        if (id === undefined || id < special.length) {
          throw new RangeError(
            `${name}: expected the text to be made of known symbols, received ${JSON.stringify(symbol)} at ${i}`,
          );
        }
        return id;
      });
    },
    decode(given) {
      checkIds(name, given, all.length);
      return Array.from(given)
        .filter((id) => id >= special.length)
        .map((id) => all[id])
        .join(joint);
    },
    idOf: (token) => ids.get(token),
    description: describe(all, special, joint),
  };
}

/** As byte-pair encoding that merges nothing: texts fall into characters, words are looked up whole. */
function describe(all: readonly string[], special: readonly string[], joint: string): Record<string, unknown> {
  const apart = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const cut = { type: "Split", pattern: { String: joint }, behavior: "Removed", invert: false };
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: special.map((content, id) => ({ id, content, ...apart })),
    normalizer: null,
    pre_tokenizer: joint === "" ? null : cut,
    post_processor: null,
    // Without a decoder tokens are put together with spaces.
    decoder: joint === "" ? { type: "Fuse" } : null,
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: true,
      vocab: Object.fromEntries(all.map((symbol, id) => [symbol, id])),
      merges: [],
    },
  };
}

/**
 * A token per character (code point).
 * @param alphabet the characters, in the order of their ids
 * @param special tokens that no text holds, such as an end of sequence; their ids come first
 */
export function characterTokenizer(alphabet: string, special: readonly string[] = []): Tokenizer {
  return symbolTokenizer("characterTokenizer", Array.from(alphabet), special, (text) => Array.from(text), "");
}

/**
 * A token per word: text is cut at single spaces, and put together with them.
 * @param words in the order of their ids; none holds a space
 * @param special tokens that no text holds, such as an end of sequence; their ids come first
 */
export function wordTokenizer(words: readonly string[], special: readonly string[] = []): Tokenizer {
  const wrong = words.find((word) => word === "" || word.includes(" "));
  if (wrong !== undefined) {
    throw new RangeError(`wordTokenizer: expected words without spaces, received ${JSON.stringify(wrong)}`);
  }
  const split = (text: string): string[] => (text === "" ? [] : text.split(" "));
  return symbolTokenizer("wordTokenizer", words, special, split, " ");
}
