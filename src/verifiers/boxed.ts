/** Answers that a solution puts into a box. */

/** `\boxed{…}` or `\fbox{…}`, also where the backslash is written twice; or `\boxed` before a single character. */
const boxPattern = /\\+(?:boxed|fbox)\s*(\{|[^\s{])/g;

interface Box {
  readonly start: number;
  readonly end: number;
  readonly content: string;
}

/** The boxes of a text that are not inside another. One that is never closed ends with its line. */
function boxesOf(text: string): Box[] {
  const boxes: Box[] = [];
  boxPattern.lastIndex = 0;
  for (let match = boxPattern.exec(text); match !== null; match = boxPattern.exec(text)) {
    const from = boxPattern.lastIndex;
    if (match[1] !== "{") {
      boxes.push({ start: match.index, end: from, content: match[1] });
      continue;
    }
    const close = closingBrace(text, from);
    const lineEnd = text.indexOf("\n", from);
    const end = close ?? (lineEnd < 0 ? text.length : lineEnd);
    boxes.push({ start: match.index, end: Math.min(end + 1, text.length), content: text.slice(from, end) });
    // What no brace closes is looked at once: otherwise a row of opened boxes would take quadratic time.
    if (close === undefined) break;
    boxPattern.lastIndex = end + 1;
  }
  return boxes;
}

function closingBrace(text: string, from: number): number | undefined {
  let depth = 1;
  for (let at = from; at < text.length; at++) {
    const letter = text[at];
    if (letter === "\\") at++;
    else if (letter === "{") depth++;
    else if (letter === "}" && --depth === 0) return at;
  }
  return undefined;
}

/** What may stand between boxes that give one answer together: delimiters, separators, and, or, a name before its value. */
const maxBetween = 80;
const betweenBoxes = /^(?:\s|\$|\\[()[\]]|\\q?quad|[,;.]|\band\b|\bor\b|\\?&)*(?:[A-Za-z](?:_\{?\w+\}?)?\s*=\s*)?$/;

function joins(between: string): boolean {
  if (between.length > maxBetween || /\n\s*\n/.test(between)) return false;
  const plain = between.replace(/\\(?:text|textrm|mathrm)\{[^{}]*\}/g, (text) =>
    /\b(?:and|or)\b/.test(text) ? " and " : text,
  );
  return betweenBoxes.test(plain) && /[,;]|\band\b|\bor\b/.test(plain);
}

/**
 * What the last box holds; undefined where there is none. Boxes that only separators stand between, such as
 * `\boxed{1} and \boxed{2}`, are one answer: their contents, joined by `and` (or by commas, where they are written so).
 */
export function lastBoxed(text: string): { readonly content: string; readonly start: number } | undefined {
  const boxes = boxesOf(text);
  const last = boxes.at(-1);
  if (last === undefined) return undefined;
  let joined = last.content;
  for (let b = boxes.length - 2; b >= 0; b--) {
    const between = text.slice(boxes[b].end, boxes[b + 1].start);
    if (!joins(between)) break;
    joined = `${boxes[b].content}${/\b(?:and|or)\b/.test(between) ? " \\text{ and } " : " , "}${joined}`;
  }
  return { content: joined, start: last.start };
}
