/** What an answer says, as a tree. */

import type { Rational } from "./rational.ts";

/** Something with a value. */
export type Expression =
  | {
      readonly kind: "number";
      readonly value: Rational;
      /** digits after the decimal point, as it was written; undefined where there was no point */
      readonly decimals?: number;
      /** digits from the first that is not 0 */
      readonly significant?: number;
    }
  /** a variable, or one of the constants of `constants` */
  | { readonly kind: "symbol"; readonly name: string }
  | { readonly kind: "sum"; readonly terms: readonly Expression[] }
  | { readonly kind: "product"; readonly factors: readonly Expression[] }
  | { readonly kind: "power"; readonly base: Expression; readonly exponent: Expression }
  | { readonly kind: "call"; readonly name: string; readonly args: readonly Expression[] };

export type Comparison = "=" | "<" | "<=" | "!=" | "in";

/** A whole answer. */
export type Answer =
  | { readonly kind: "value"; readonly value: Expression; readonly unit?: string; readonly percent?: boolean }
  /** a tuple, a point, a vector, an interval: what the brackets say */
  | { readonly kind: "bracket"; readonly open: string; readonly close: string; readonly items: readonly Answer[] }
  | { readonly kind: "set"; readonly items: readonly Answer[] }
  | { readonly kind: "list"; readonly items: readonly Answer[] }
  | { readonly kind: "union"; readonly parts: readonly Answer[] }
  | { readonly kind: "matrix"; readonly rows: readonly (readonly Answer[])[] }
  /** sides[i] comparisons[i] sides[i + 1] */
  | { readonly kind: "relation"; readonly sides: readonly Answer[]; readonly comparisons: readonly Comparison[] }
  /** a number in another base than ten */
  | { readonly kind: "based"; readonly digits: string; readonly base: string }
  | { readonly kind: "text"; readonly text: string };

export const infinity = "∞";
export const degree = "°";
export const imaginary = "i";
/** Symbols that stand for one number. */
export const constants: ReadonlySet<string> = new Set(["π", "e", imaginary, infinity, degree]);

export const symbol = (name: string): Expression => ({ kind: "symbol", name });
export const numeral = (value: Rational): Expression => ({ kind: "number", value });
