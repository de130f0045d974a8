/** The characters of a text as ids, for texts whose tokens nobody has. */

import type { Tokenizer } from "./tokenizer.ts";

/** An id is the code point of a character; half of a pair of surrogates stays what it is. */
export const codePoints: Tokenizer = {
  vocabulary: 0x110000,
  encode: (text) => Array.from(text, (character) => character.codePointAt(0) as number),
  decode: (ids) => Array.from(ids, (id) => String.fromCodePoint(id)).join(""),
  idOf: (token) => (Array.from(token).length === 1 ? token.codePointAt(0) : undefined),
};
