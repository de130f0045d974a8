/** Sentences of a solution in words: LaTeX and code are never cut inside. */

import { mapBoundaries } from "./segment.ts";
import type { Range, Segmenter } from "./problem.ts";

/**
 * Character ranges of the sentences of a text, each with the white space behind it. A sentence ends at `.`, `!` or `?` before
 * white space, at `。`, `！` or `？`, and at the end of a line. Mathematics (`$…$`, `$$…$$`, `\(…\)`, `\[…\]`,
 * `\begin{…}…\end{…}`) and code (fences, and `…` in a line) lie whole in one range; periods of abbreviations and of numbered
 * lists end nothing. Indices count UTF-16 units.
 */
export function sentences(text: string): Range[] {
  const ranges: Range[] = [];
  let start = 0;
  const marks = new Marks(text);
  for (let i = 0; i < text.length;) {
    const after = protectedEnd(marks, i);
    if (after > i) {
      i = after;
      continue;
    }
    const end = sentenceEnd(text, i);
    if (end > i) {
      ranges.push({ start, end });
      start = end;
    }
    i = Math.max(i + 1, end);
  }
  if (start < text.length) ranges.push({ start, end: text.length });
  return ranges;
}

const closers = /["'”’)\]}*_]*/y;
const space = /\s+/y;

/** The end of the sentence that the character at `i` ends, with the white space behind it; 0: it ends none. */
function sentenceEnd(text: string, i: number): number {
  const character = text[i];
  if (character === "\n") return skip(space, text, i);
  if ("。！？".includes(character)) return skip(space, text, skip(closers, text, i + 1));
  if (!".!?".includes(character)) return 0;
  const closed = skip(closers, text, i + 1);
  const end = skip(space, text, closed);
  if (end === closed && end < text.length) return 0;
  return character === "." && isPartOfWord(text, i) ? 0 : end;
}

/** Where a sticky pattern that begins at `at` ends; `at` itself where it does not match. */
function skip(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : at;
}

const abbreviations = /(?:^|[^\p{L}.])(?:e\.g|i\.e|cf|vs|Mr|Mrs|Ms|Dr|Prof|St|Fig|Eq|Eqs|Thm|approx|resp|\p{Lu})$/u;
const listNumber = /(?:^|\n)[ \t]*(?:\d{1,3}|[A-Za-z]|[ivx]{1,4})$/;
/** Longer than what the patterns above look back at. */
const lookBehind = 24;

/** Whether the period at `i` belongs to an abbreviation, an initial or the number of a list's item. */
function isPartOfWord(text: string, i: number): boolean {
  const before = text.slice(Math.max(0, i - lookBehind), i);
  if (listNumber.test(before)) return true;
  return i + 1 < text.length && abbreviations.test(before);
}

/** Where marks come next: each is searched for once, however many openings wait for it. */
class Marks {
  readonly text: string;
  readonly #found = new Map<string, number>();

  constructor(text: string) {
    this.text = text;
  }

  /** The first occurrence at or after `from`, which does not fall from call to call; ∞: none. */
  next(mark: string, from: number, counts: (at: number) => boolean = () => true): number {
    let at = this.#found.get(mark) ?? -1;
    if (at >= from) return at;
    do at = this.text.indexOf(mark, Math.max(from, at + 1));
    while (at >= 0 && !counts(at));
    if (at < 0) at = Infinity;
    this.#found.set(mark, at);
    return at;
  }
}

/** Where a piece that is not cut ends, if one begins at `i`; else `i`. */
function protectedEnd(marks: Marks, i: number): number {
  switch (marks.text[i]) {
    case "`":
      return codeEnd(marks, i);
    case "$":
      return dollarEnd(marks, i);
    case "\\":
      return latexEnd(marks, i);
    default:
      return i;
  }
}

/** A fence without its end lasts to the end of the text; a single backtick without one is a character. */
function codeEnd(marks: Marks, i: number): number {
  const { text } = marks;
  if (text.startsWith("```", i)) return Math.min(text.length, marks.next("```", i + 3) + 3);
  const close = marks.next("`", i + 1);
  return close < marks.next("\n", i + 1) ? close + 1 : i;
}

/** As in Pandoc: `$` opens before a character that is no space, and closes behind one, unless a digit follows. */
function dollarEnd(marks: Marks, i: number): number {
  const { text } = marks;
  if (text.startsWith("$$", i)) return closedBy("$$", marks, i, 2);
  if (i + 1 >= text.length || /\s/.test(text[i + 1])) return i;
  const closes = (at: number): boolean => !/[\s\\]/.test(text[at - 1]) && !/\d/.test(text[at + 1] ?? "");
  const close = marks.next("$", i + 1, closes);
  return close < marks.next("\n\n", i) ? close + 1 : i;
}

function latexEnd(marks: Marks, i: number): number {
  const { text } = marks;
  if (text.startsWith("\\(", i)) return closedBy("\\)", marks, i, 2);
  if (text.startsWith("\\[", i)) return closedBy("\\]", marks, i, 2);
  const environment = /^\\begin\{([a-zA-Z]+\*?)\}/.exec(text.slice(i, i + 40));
  if (environment === null) return i;
  return closedBy(`\\end{${environment[1]}}`, marks, i, environment[0].length);
}

function closedBy(mark: string, marks: Marks, i: number, opening: number): number {
  const close = marks.next(mark, i + opening);
  return close === Infinity ? i : close + mark.length;
}

/**
 * Steps that are ranges of the text, such as `sentences`. A token belongs to the range that holds its first character.
 * @param decode the text of token ids
 */
export function textSegmenter(
  rangesOf: (text: string) => readonly Range[],
  decode: (tokens: readonly number[]) => string,
): Segmenter {
  return (completion) => {
    const text = decode(completion);
    return mapBoundaries(rangesOf(text), startsOf(completion, text, decode), completion.length);
  };
}

/** The first character of every token. Tokens that are no text by themselves, parts of a character, are read together. */
function startsOf(tokens: readonly number[], text: string, decode: (tokens: readonly number[]) => string): number[] {
  const pieces = tokens.map((token) => decode([token]));
  const apart = pieces.join("") === text;
  let at = 0;
  return tokens.map((_, t) => {
    const start = apart ? at : Math.max(at, decode(tokens.slice(0, t)).length);
    at = apart ? at + pieces[t].length : start;
    return start;
  });
}
