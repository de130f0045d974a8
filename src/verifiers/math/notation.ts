/** One spelling for what LaTeX, plain text and Unicode write in many. */

const characters: Readonly<Record<string, string>> = {
  "−": "-",
  "–": "-",
  "×": "\\times ",
  "÷": "\\div ",
  "·": "\\cdot ",
  "⋅": "\\cdot ",
  "∙": "\\cdot ",
  π: "\\pi ",
  "√": "\\sqrt ",
  "∞": "\\infty ",
  "≤": "\\le ",
  "≥": "\\ge ",
  "≠": "\\ne ",
  "≈": "\\approx ",
  "∈": "\\in ",
  "∪": "\\cup ",
  "±": "\\pm ",
  "∓": "\\mp ",
  "°": "^\\circ ",
  "²": "^2 ",
  "³": "^3 ",
  "½": "\\frac12 ",
  "¼": "\\frac14 ",
  "¾": "\\frac34 ",
  "\u00a0": " ",
  "\u2009": " ",
  "\u202f": " ",
  "，": ",",
};
const characterPattern = new RegExp(`[${Object.keys(characters).join("")}]`, "gu");

/** Marks of layout: nothing of the answer is in them. */
const layout =
  /\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|limits|nolimits|phantom|hspace\*?\{[^{}]*\}|qquad|quad)(?![a-zA-Z])\.?|\\q?quad|\\(?=\s)/g;

/** Replaces everything that one answer may write in several ways and that has no meaning of its own. */
export function oneNotation(text: string): string {
  let plain = text.replace(characterPattern, (character) => characters[character]);
  // A backslash written twice, as in JSON inside JSON; in a matrix it ends a row.
  if (!/\\\\*begin/.test(plain)) plain = plain.replace(/\\\\+(?=[a-zA-Z,!;:{}%$()[\]])/g, "\\");
  return plain
    .replace(/\\+begin/g, "\\begin")
    .replace(/(?<=\d)(?:\s*\{,\s*\}|,\\!|\\[,;:!]|~)\s*(?=\d{3}(?!\d))/g, "")
    .replace(/\\(?:\$|pounds|euro)|[€£¥]/g, " ")
    .replace(/\$|\\[()[\]]/g, " ")
    .replace(layout, " ")
    .replace(/\\[,;:!]|~/g, " ")
    .replace(/\\[dtc]frac(?![a-z])/g, "\\frac")
    .replace(/\*\*/g, "^")
    .replace(/\\?%/g, " \\% ")
    .replace(/[\s.,;:]+$/u, "")
    .trim();
}

/**
 * The readings of the commas and spaces among digits. `1,234` is a number or a list of two, `0,5` a decimal: what an
 * answer means is settled by the one it is compared with.
 */
export function readingsOf(text: string): readonly string[] {
  const readings = new Set<string>();
  if (!/[([{]/.test(text.replaceAll(/\\[a-z]+\{/g, ""))) {
    readings.add(
      text.replace(/(?<![\d.,])[1-9]\d{0,2}(?:([, ])\d{3})(?:\1\d{3})*(?![\d,])/g, (n) => n.replace(/[, ]/g, "")),
    );
  }
  readings.add(text);
  const isGrouped = /^[-+]?[1-9]\d{0,2}(?:,\d{3})+(?!\d)/.test(text);
  if (!isGrouped && /^[-+]?\d+,\d+(?![\d,])[^\d,]*$/.test(text)) readings.add(text.replace(",", "."));
  return [...readings];
}

/** An answer as a text: without spaces, delimiters and commands of layout; in lower case where it is all words. */
export function comparableText(text: string): string {
  const bare = oneNotation(text)
    .replace(/\\(?:text|textbf|textit|textrm|textnormal|mbox|mathrm|mathbf|operatorname)(?![a-z])/g, "")
    .replace(/[{}]/g, " ")
    .replace(/(?<!\d)\s+|\s+(?!\d)/g, "");
  return isWords(bare) ? bare.toLowerCase() : bare;
}

/** Of words the case does not count; of one to three capitals it does: they are variables, or points of a figure. */
const isWords = (text: string): boolean => /^[\p{L}\p{M}'.,-]{2,}$/u.test(text) && !/^[A-Z]{1,3}$/.test(text);
