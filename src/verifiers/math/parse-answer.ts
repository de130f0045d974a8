/** A whole answer: lists, sets, intervals, matrices, equations and inequalities around expressions. */

import { LimitReached, maxAnswerLength, type Budget } from "./budget.ts";
import { degree, numeral, symbol, type Answer, type Comparison, type Expression } from "./expression.ts";
import { comparableText, oneNotation } from "./notation.ts";
import { NotAnExpression, parseExpression, product } from "./parse.ts";
import { integer } from "./rational.ts";
import { tokensOf, unitNames, type Token } from "./tokens.ts";

/** What an answer in one notation says; a text, where it is no mathematics or too much of it. Never throws. */
export function parseAnswer(plain: string, budget: Budget): Answer {
  try {
    if (plain.length > maxAnswerLength) throw new LimitReached(`more than ${maxAnswerLength} characters`);
    return parseList(tokensOf(plain), budget);
  } catch (error) {
    if (!(error instanceof NotAnExpression || error instanceof LimitReached || error instanceof RangeError))
      throw error;
    return { kind: "text", text: comparableText(plain) };
  }
}

/** The answer in its notation, for what is not read through `readingsOf`. */
export const parseWritten = (text: string, budget: Budget): Answer => parseAnswer(oneNotation(text), budget);

const opening: ReadonlySet<string> = new Set(["(", "[", "{", "\\{", "begin", "lfloor", "lceil"]);
const closing: ReadonlySet<string> = new Set([")", "]", "}", "\\}", "end", "rfloor", "rceil"]);

const isMark = (token: Token | undefined, text: string): boolean => token?.kind === "mark" && token.text === text;

interface Parts {
  readonly parts: readonly (readonly Token[])[];
  readonly separators: readonly string[];
}

/** Cuts at marks that are in no bracket. */
function splitAt(tokens: readonly Token[], separators: ReadonlySet<string>): Parts {
  const parts: Token[][] = [[]];
  const found: string[] = [];
  let depth = 0;
  for (const token of tokens) {
    if (token.kind === "mark") {
      if (opening.has(token.text)) depth++;
      else if (closing.has(token.text)) depth--;
      else if (depth === 0 && separators.has(token.text)) {
        found.push(token.text);
        parts.push([]);
        continue;
      }
    }
    parts.at(-1)?.push(token);
  }
  return { parts, separators: found };
}

const listSeparators: ReadonlySet<string> = new Set([",", ";", "and", "or"]);

/** `1 and 2`, `x = 1 or x = 2` and solutions such as `(1, 2), (2, 1)` are sets; `1, 2` is a list in this order. */
function parseList(tokens: readonly Token[], budget: Budget): Answer {
  const { parts, separators } = splitAt(tokens, listSeparators);
  const items = parts.filter((part) => part.length > 0).flatMap((part) => parseSigns(part, budget));
  if (items.length === 0) throw new NotAnExpression("it is empty");
  if (items.length === 1) return items[0];
  const signs = tokens.some((token) => isMark(token, "pm") || isMark(token, "mp"));
  const isSet = signs || separators.some((mark) => mark === "and" || mark === "or");
  return { kind: isSet || items.every(({ kind }) => kind === "bracket") ? "set" : "list", items };
}

/** `a ± b` is two answers. */
function parseSigns(tokens: readonly Token[], budget: Budget): Answer[] {
  if (!tokens.some((token) => isMark(token, "pm") || isMark(token, "mp"))) return [parseItem(tokens, budget)];
  return ["pm", "mp"].map((plus) =>
    parseItem(
      tokens.map((token) =>
        isMark(token, "pm") || isMark(token, "mp") ? { ...token, text: token.text === plus ? "+" : "-" } : token,
      ),
      budget,
    ),
  );
}

const comparisons: Readonly<Record<string, Comparison>> = {
  "=": "=",
  "<": "<",
  "<=": "<=",
  ">": "<",
  ">=": "<=",
  "!=": "!=",
  in: "in",
};

function parseItem(written: readonly Token[], budget: Budget): Answer {
  budget.spend();
  const tokens = withoutApproximation(written);
  const { parts, separators } = splitAt(tokens, new Set(Object.keys(comparisons)));
  if (separators.length === 0) return parseUnion(tokens, budget);
  const sides = parts.map((part) => parseUnion(part, budget));
  const greater = separators.filter((mark) => mark.startsWith(">")).length;
  if (greater > 0 && greater < separators.length) throw new NotAnExpression("comparisons in both directions");
  const marks = separators.map((mark) => comparisons[mark]);
  if (greater > 0) return { kind: "relation", sides: sides.reverse(), comparisons: marks.reverse() };
  return { kind: "relation", sides, comparisons: marks };
}

/** `1/3 ≈ 0.33` says 1/3; `x ≈ 0.33` says that x is 0.33. */
function withoutApproximation(tokens: readonly Token[]): readonly Token[] {
  const { parts } = splitAt(tokens, new Set(["approx"]));
  if (parts.length === 1) return tokens;
  const [exact, approximate] = parts;
  if (exact.length === 0) return approximate;
  if (exact.length > 1 || exact[0].kind !== "name") return exact;
  return [...exact, { kind: "mark", text: "=", spaced: true }, ...approximate];
}

function parseUnion(tokens: readonly Token[], budget: Budget): Answer {
  const { parts } = splitAt(tokens, new Set(["cup"]));
  if (parts.length === 1) return parseSide(tokens, budget);
  return { kind: "union", parts: parts.map((part) => parseSide(part, budget)) };
}

/** The place of the bracket that closes the first token's; half-open intervals close with another kind. */
function closeOf(tokens: readonly Token[]): number {
  let depth = 0;
  for (const [place, { kind, text }] of tokens.entries()) {
    if (kind !== "mark") continue;
    if (opening.has(text)) depth++;
    if (closing.has(text) && --depth === 0) return place;
  }
  return -1;
}

function parseSide(tokens: readonly Token[], budget: Budget): Answer {
  const [first] = tokens;
  const last = tokens.at(-1);
  if (first === undefined || last === undefined) throw new NotAnExpression("a side is empty");
  if (first.kind === "mark" && opening.has(first.text) && closeOf(tokens) === tokens.length - 1) {
    const inside = tokens.slice(1, -1);
    const { parts, separators } = splitAt(inside, new Set([",", ";"]));
    const items = (): Answer[] => parts.filter((part) => part.length > 0).flatMap((part) => parseSigns(part, budget));
    if (first.text === "\\{") return { kind: "set", items: inside.length === 0 ? [] : items() };
    if (separators.length > 0 && first.text === "{") return parseList(inside, budget);
    if (separators.length > 0) return { kind: "bracket", open: first.text, close: last.text, items: items() };
    if (isMark(inside[0], "begin") && first.text !== "{") return parseMatrix(inside, budget);
    if (first.text === "{" || first.text === "(") return parseList(inside, budget);
  }
  if (isMark(first, "begin")) return parseMatrix(tokens, budget);
  // A command of which nothing is known stands for itself.
  if (tokens.length === 1 && /^[a-z]{2,}$/i.test(first.text) && first.kind === "mark") {
    return { kind: "value", value: symbol(`\\${first.text}`) };
  }
  return parseBased(tokens) ?? parseQuantity(tokens, budget);
}

const matrices: ReadonlySet<string> = new Set(["matrix", "pmatrix", "bmatrix", "array"]);

/** `\begin{pmatrix} a & b \\ c & d \end{pmatrix}`; arrays have their columns' layout in a second group. */
function parseMatrix(tokens: readonly Token[], budget: Budget): Answer {
  const nameEnd = tokens.findIndex((token) => isMark(token, "}"));
  const name = tokens
    .slice(2, nameEnd)
    .map(({ text }) => text)
    .join("");
  const end = tokens.findIndex((token) => isMark(token, "end"));
  if (!matrices.has(name) || end < 0 || tokens.slice(end).filter((token) => isMark(token, "}")).length !== 1) {
    throw new NotAnExpression("no matrix");
  }
  let start = nameEnd + 1;
  if (name === "array" && isMark(tokens[start], "{")) {
    start = tokens.findIndex((token, place) => place > start && isMark(token, "}")) + 1;
  }
  const { parts } = splitAt(tokens.slice(start, end), new Set(["row"]));
  const rows = parts
    .filter((row) => row.length > 0)
    .map((row) => splitAt(row, new Set(["&", "\\&"])).parts.map((cell) => parseItem(cell, budget)));
  return { kind: "matrix", rows };
}

/** `204_5`: digits in another base. */
function parseBased(tokens: readonly Token[]): Answer | undefined {
  const written = tokens.map(({ text }) => text).join("");
  const [, digits, braced, bare] = /^(\d+)_(?:\{(\d+)\}|(\d+))$/.exec(written) ?? [];
  return digits === undefined ? undefined : { kind: "based", digits, base: braced ?? bare };
}

const multipliers: Readonly<Record<string, number>> = {
  dozen: 12,
  hundred: 1e2,
  thousand: 1e3,
  million: 1e6,
  billion: 1e9,
  trillion: 1e12,
};

/** An expression, and behind it what it counts: `12 square units`, `5 million dollars`, `10\%`, `90^\circ`. */
function parseQuantity(tokens: readonly Token[], budget: Budget): Answer {
  const place = tokens.findIndex((token) => token.kind === "word" || isMark(token, "\\%"));
  const head = place < 0 ? tokens : tokens.slice(0, place);
  const tail = place < 0 ? [] : tokens.slice(place);
  if (!unitShape.test(tail.map(shapeOf).join(""))) throw new NotAnExpression("words among the signs");
  let value = parseExpression(head, budget);
  const words = tail.map(({ text }) => text.toLowerCase());
  for (const word of words) {
    if (Object.hasOwn(multipliers, word)) value = product(value, numeral(integer(multipliers[word])));
  }
  const units = words.filter((word) => Object.hasOwn(unitNames, word)).map((word) => unitNames[word]);
  if (words.includes("\\%") || units.includes("pct")) return { kind: "value", value, percent: true };
  if (words.length === 0) return withoutDegree(value);
  return units.length === 1 ? { kind: "value", value, unit: units[0] } : { kind: "value", value };
}

/** Words and percent signs, powers of them, and quotients: `cm^2`, `km/h`, `m^{-1}`. */
const unitShape = /^(?:[w%]+(?:\^-?n|\^\{-?n\})?[.'-]*\/?)*$/;
const shapeOf = ({ kind, text }: Token): string =>
  kind === "word" ? "w" : kind === "number" ? "n" : text === "\\%" ? "%" : kind === "mark" ? text : "?";

function withoutDegree(value: Expression): Answer {
  const factors = value.kind === "product" ? value.factors : [];
  const last = factors.at(-1);
  if (last?.kind !== "symbol" || last.name !== degree) return { kind: "value", value };
  return { kind: "value", value: { kind: "product", factors: factors.slice(0, -1) }, unit: degree };
}
