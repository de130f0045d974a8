/** Where in a solution its answer is. */

import { lastBoxed } from "../boxed.ts";
import { afterMarker } from "../verifier.ts";
import { Budget, maxAnswerLength } from "./budget.ts";
import { parseWritten } from "./parse-answer.ts";

/** Longer lines are prose, whatever else they hold. */
const longestAnswerLine = 300;

/** The answer of a solution, as it is written; undefined where there is none. */
export function extractAnswer(solution: string, marker: string): string | undefined {
  const boxed = lastBoxed(solution);
  const said = afterCue(solution);
  if (boxed !== undefined) {
    // A solution may correct itself behind its last box, if it says so.
    const isLater = said !== undefined && said.start > boxed.start && startsWithAnswer.test(said.text);
    return isLater ? (mathematicsOf(said.text) ?? boxed.content) : boxed.content;
  }
  const marked = marker === "" ? undefined : afterMarker(solution, marker);
  if (marked !== undefined) return mathematicsOf(firstLine(marked));
  return mathematicsOf(said?.text ?? solution);
}

/** The known answer: a text of its own, or one that comes with its derivation. */
export function extractKnown(answer: string, marker: string): string {
  const boxed = lastBoxed(answer);
  if (boxed !== undefined) return boxed.content;
  const marked = (marker === "" ? undefined : afterMarker(answer, marker)) ?? answer;
  return marked.length <= longestAnswerLine ? marked : (mathematicsOf(afterCue(marked)?.text ?? marked) ?? marked);
}

const firstLine = (text: string): string => text.split("\n").find((line) => line.trim() !== "") ?? "";

/** The rest of the line after the last `answer is` or `answer:`, where something is said there. */
const cue = /\banswer(?:\s+is|\s*:)\s*:?\s*([^\n]*)/gi;

function afterCue(text: string): { readonly text: string; readonly start: number } | undefined {
  let found: { text: string; start: number } | undefined;
  for (const match of text.matchAll(cue)) {
    // `Final answer: the answer is 3. I hope that it is correct.`
    const said = match[1].split(/\banswer(?:\s+is|\s*:)\s*/i).at(-1) ?? "";
    const [rest] = said.split(/(?<=[^\s.])\.\s+(?=[A-Z])/);
    if (/[\p{L}\d]/u.test(rest)) found = { text: rest, start: match.index };
  }
  return found;
}

/** A formula or a number comes first. */
const startsWithAnswer = /^\**\s*(?:\$|\\[([]|[-−]?\d)/;

/** The text itself where it is mathematics; else its last formula or number; else the text. */
function mathematicsOf(text: string): string | undefined {
  const trimmed = text.trim().replace(/^\*+|[*.\s]+$/g, "");
  if (trimmed === "") return undefined;
  const isShort = trimmed.length <= longestAnswerLine;
  if (isShort && parseWritten(trimmed, new Budget()).kind !== "text") return trimmed;
  const found = [lastFormula(text), lastWrittenNumber(text)].filter((part) => part !== undefined);
  found.sort((a, b) => b.end - a.end);
  return found[0]?.text ?? (isShort ? trimmed : undefined);
}

/** Between delimiters. `$` also stands for dollars: a formula does not go past its paragraph. */
const formula =
  /\$\$((?:(?!\$\$|\n\s*\n)[^]){1,4000}?)\$\$|\\\[((?:(?!\n\s*\n)[^]){1,4000}?)\\\]|\\\(([^\n]{1,4000}?)\\\)|\$((?:(?!\n\s*\n)[^$]){1,2000})\$/g;
const percentBehind = /^\s*(?:\\?%|percent\b|pct\b)/;

interface Found {
  readonly text: string;
  readonly end: number;
}

function lastFormula(text: string): Found | undefined {
  const from = Math.max(0, text.length - 5 * maxAnswerLength);
  const tail = text.slice(from);
  let found: Found | undefined;
  for (const match of tail.matchAll(formula)) {
    const written = match.slice(1).find((group) => group !== undefined);
    if (written === undefined || written.trim() === "") continue;
    const end = match.index + match[0].length;
    const isPercent = percentBehind.test(tail.slice(end, end + 20));
    found = { text: isPercent ? `${written} \\%` : written, end: from + end };
  }
  return found;
}

/** With its sign, separators of thousands, a decimal comma, an exponent, a fraction or a percent sign. */
const writtenNumber =
  /(?:(?<![\w.)])[-+−])?(?:\d{1,3}(?:[, ]\d{3})+(?![\d,])|\d+(?:,\d+)?|(?=\.\d))(?:\.\d+)?(?:e[-+]?\d+)?(?:\s?\/\s?\d+(?:\.\d+)?)?(?:\s*(?:\\?%|percent\b|pct\b))?/gi;

function lastWrittenNumber(text: string): Found | undefined {
  const from = Math.max(0, text.length - maxAnswerLength);
  const match = [...text.slice(from).matchAll(writtenNumber)].at(-1);
  return match === undefined ? undefined : { text: match[0], end: from + match.index + match[0].length };
}
