/** Expressions of whole numbers with + − * / and brackets. */

import { resultOf, type Sign } from "./written-arithmetic.ts";

export type Expression =
  { readonly value: bigint } | { readonly sign: Sign; readonly left: Expression; readonly right: Expression };

const maxDepth = 50;
const maxLength = 500;

/** Reads a text without white space; undefined of one that is no expression, or a very long or deep one. */
export function parseExpression(text: string): Expression | undefined {
  if (text.length > maxLength) return undefined;
  let at = 0;
  const chain = (signs: string, operand: (depth: number) => Expression | undefined, depth: number) => {
    let left = operand(depth);
    while (left !== undefined && at < text.length && signs.includes(text[at])) {
      const sign = text[at++] as Sign;
      const right = operand(depth);
      left = right && { sign, left, right };
    }
    return left;
  };
  const sum = (depth: number): Expression | undefined => (depth > maxDepth ? undefined : chain("+-", product, depth));
  const product = (depth: number): Expression | undefined => chain("*/", single, depth);
  const single = (depth: number): Expression | undefined => {
    if (text[at] === "(") {
      at++;
      const inner = sum(depth + 1);
      return text[at++] === ")" ? inner : undefined;
    }
    const digits = /^\d+/.exec(text.slice(at))?.[0];
    at += digits?.length ?? 0;
    return digits === undefined ? undefined : { value: BigInt(digits) };
  };
  const parsed = sum(0);
  return at === text.length ? parsed : undefined;
}

/** The exact value; undefined where a division leaves a remainder or is by 0. */
export function valueOf(expression: Expression): bigint | undefined {
  if ("value" in expression) return expression.value;
  const [left, right] = [valueOf(expression.left), valueOf(expression.right)];
  return left === undefined || right === undefined ? undefined : resultOf({ left, sign: expression.sign, right });
}

/** Its numbers, the smallest first. */
export function numbersOf(expression: Expression): bigint[] {
  const numbers =
    "value" in expression ? [expression.value] : [...numbersOf(expression.left), ...numbersOf(expression.right)];
  return sorted(numbers);
}

export const sorted = (numbers: readonly bigint[]): bigint[] =>
  numbers.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0));

const rank = (expression: Expression): number =>
  "value" in expression ? 2 : expression.sign === "*" || expression.sign === "/" ? 1 : 0;

/** With the brackets that it needs. */
export function writeExpression(expression: Expression): string {
  if ("value" in expression) return String(expression.value);
  const { sign, left, right } = expression;
  const side = (inner: Expression, bracketed: boolean): string =>
    bracketed ? `(${writeExpression(inner)})` : writeExpression(inner);
  const own = rank(expression);
  return `${side(left, rank(left) < own)}${sign}${side(right, rank(right) <= own)}`;
}
