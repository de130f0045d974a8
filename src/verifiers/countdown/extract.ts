/** Where in a text its last expression is. */

import { maxAnswerLength } from "../math/budget.ts";

/**
 * A run of digits, operators, brackets and equals signs in one line. Also of signs that countdown does not know: cut there,
 * `3^2 * 5` would be read as `2 * 5`. For the same reason it does not begin inside a name, a number or an argument.
 */
const run = /(?<![\p{L}\d_\\,])(?<![-+*/^!%.(){}]\s*)[-(\d][-+*/^!%.()=\d \t]*/gu;
/** What would belong to it, so that it is no arithmetic. */
const goesOn = /^(?:[\p{L}_{]|,\d|\s*\\(?!text))/u;
const hasOperator = /[\d)]\s*[-+*/]/;

/**
 * The last expression of a text, in plain notation; undefined where there is none. Of an equation it is the first side with
 * an operator: `2 * (3 + 4) = 2 * 7 = 14` is about `2 * (3 + 4)`. A number is an expression where it stands alone.
 */
export function expressionIn(text: string): string | undefined {
  const plain = plainNotation(text.slice(-maxAnswerLength)).trim();
  if (/^\d+$/.test(plain)) return plain;
  const last = [...plain.matchAll(run)].findLast(([found]) => hasOperator.test(found));
  if (last === undefined) return undefined;
  const found = last[0].trim();
  if (goesOn.test(plain.slice(last.index + found.length))) return undefined;
  const written = found.replace(/(?:\*\*|[.\s])+$/, "");
  return written
    .split("=")
    .find((side) => hasOperator.test(side))
    ?.trim();
}

/** LaTeX, Markdown and typographic signs as plain ones. */
function plainNotation(text: string): string {
  return text
    .replace(/^[ \t]*\d+[.)][ \t]+/gm, "")
    .replace(/(^|[\s:])\*\*(?=[-(\d])/g, "$1")
    .replace(/\\[()[\]]/g, " ")
    .replace(/\\(?:left|right|quad)(?![a-zA-Z])|\\[,;!]/g, "")
    .replace(/\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}/g, "(($1)/($2))")
    .replace(/\\(?:times|cdot|ast)(?![a-zA-Z])|[×·∗⋅]/g, "*")
    .replace(/\\div(?![a-zA-Z])|[÷∕]/g, "/")
    .replace(/[−–]/g, "-");
}
