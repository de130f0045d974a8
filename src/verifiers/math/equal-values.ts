/** Whether two expressions have the same value, for all values of their variables. */

import { deriveSeed, Random } from "../../random.ts";
import { Budget, LimitReached } from "./budget.ts";
import { Canonical, Undefined } from "./canonical.ts";
import { evaluate, variablesOf } from "./evaluate.ts";
import { constants, imaginary, type Expression } from "./expression.ts";
import { difference } from "./parse.ts";
import { constantOf, proportion } from "./polynomial.ts";

/** Relative: float64 leaves about 1e-16 per operation, and answers have some tens of them. */
const tolerance = 1e-9;
/** Values below this are compared as if they had this size: sin π is 1e-16 in float64. */
const smallest = 1e-3;
const pointsTried = 60;
const pointsNeeded = 6;
/** A decimal stands for an exact value from so many digits on, if none of them is wrong. */
const digitsNeeded = 6;

/** Exactly where the canonical forms decide, else by their values at points. Never throws. */
export function equalValues(a: Expression, b: Expression, budget: Budget): boolean {
  const exact = exactlyEqual(a, b, budget);
  if (exact === true) return true;
  if (exact === undefined && equalAtPoints(a, b)) return true;
  return isRoundingOf(a, b) || isRoundingOf(b, a);
}

/** Undefined where the canonical forms differ and yet the values may agree. */
function exactlyEqual(a: Expression, b: Expression, budget: Budget): boolean | undefined {
  const canonical = new Canonical(budget);
  try {
    if (canonical.isDifferenceZero(canonical.of(a), canonical.of(b))) return true;
    return canonical.hasOpaque ? undefined : false;
  } catch (error) {
    if (error instanceof Undefined || error instanceof RangeError) return false;
    if (error instanceof LimitReached) return undefined;
    throw error;
  }
}

/** Every point has its own variables, of both signs; those where one side has no value are passed over. */
function equalAtPoints(a: Expression, b: Expression): boolean {
  const variables = variablesOf(b, variablesOf(a));
  const isComplex = variables.has(imaginary);
  const names = [...variables].filter((name) => !constants.has(name)).sort();
  const { next: random } = new Random(deriveSeed(0, "points"));
  const budget = new Budget();
  let agreed = 0;
  for (let attempt = 0; attempt < pointsTried && agreed < pointsNeeded; attempt++) {
    const isPositive = attempt % 2 === 0;
    const point = {
      isComplex,
      variables: new Map(names.map((name) => [name, (0.2 + 2.6 * random()) * (isPositive || random() < 0.5 ? 1 : -1)])),
    };
    const values = valuesAt(a, b, point, budget);
    if (values === undefined) return false;
    const [left, right] = values;
    const size = Math.max(Math.hypot(left.re, left.im), Math.hypot(right.re, right.im), smallest);
    const distance = Math.hypot(left.re - right.re, left.im - right.im);
    if (!Number.isFinite(size) || Number.isNaN(distance)) {
      if (names.length === 0) return false;
      continue;
    }
    if (distance > tolerance * size) return false;
    agreed++;
    if (names.length === 0) return true;
  }
  return agreed === pointsNeeded;
}

function valuesAt(a: Expression, b: Expression, point: Parameters<typeof evaluate>[1], budget: Budget) {
  try {
    return [evaluate(a, point, budget), evaluate(b, point, budget)] as const;
  } catch (error) {
    if (error instanceof LimitReached) return undefined;
    throw error;
  }
}

/** `0.0833333333` for 1/12: a decimal of enough digits, rounded or cut off from what is no decimal. */
function isRoundingOf(written: Expression, exact: Expression): boolean {
  const decimal = decimalOf(written);
  if (decimal === undefined || decimalOf(exact) !== undefined || decimal.significant < digitsNeeded) return false;
  if ([...variablesOf(exact)].some((name) => !constants.has(name) || name === imaginary)) return false;
  const point = { isComplex: false, variables: new Map<string, number>() };
  const values = valuesAt(written, exact, point, new Budget());
  if (values === undefined) return false;
  const unit = 10 ** -decimal.decimals;
  const [given, value] = values.map(({ re }) => re);
  const isTruncated = given * value >= 0 && Math.abs(given) <= Math.abs(value);
  return Math.abs(given - value) <= (isTruncated ? unit : unit / 2) * (1 - tolerance);
}

function decimalOf(expression: Expression): { decimals: number; significant: number } | undefined {
  if (expression.kind === "number") {
    const { decimals, significant } = expression;
    return decimals === undefined || significant === undefined ? undefined : { decimals, significant };
  }
  // A sign makes it a sum of one product.
  const parts = expression.kind === "sum" ? expression.terms : expression.kind === "product" ? expression.factors : [];
  const last = parts.at(-1);
  const isSigned = expression.kind === "sum" ? parts.length === 1 : parts.length === 2 && isMinusOne(parts[0]);
  return isSigned && last !== undefined ? decimalOf(last) : undefined;
}

const isMinusOne = (expression: Expression): boolean =>
  expression.kind === "number" && expression.value.num === -1n && expression.value.den === 1n;

/**
 * How a = b becomes c = d by multiplication with a number: its sign, 1 or −1, and whether that is all there is to it, so
 * that the same holds of a < b and c < d. Undefined where there is no such number, or none that is found exactly.
 */
export function proportionality(
  [a, b]: readonly [Expression, Expression],
  [c, d]: readonly [Expression, Expression],
  budget: Budget,
): { readonly sign: 1 | -1; readonly isWhole: boolean } | undefined {
  const canonical = new Canonical(budget);
  try {
    const [left, right] = [canonical.of(difference(a, b)), canonical.of(difference(c, d))];
    const ratio = proportion(left.num, right.num, budget);
    if (ratio === undefined) return undefined;
    const isWhole = constantOf(left.den) !== undefined && constantOf(right.den) !== undefined;
    return { sign: ratio.num > 0n ? 1 : -1, isWhole };
  } catch (error) {
    if (error instanceof Undefined || error instanceof LimitReached || error instanceof RangeError) return undefined;
    throw error;
  }
}
