/** Exact fractions of integers, of bounded size. */

import { LimitReached, maxBits, maxExponent, type Budget } from "./budget.ts";

/** In lowest terms, den > 0. */
export interface Rational {
  readonly num: bigint;
  readonly den: bigint;
}

const largest = 1n << BigInt(maxBits);

export const zero: Rational = { num: 0n, den: 1n };
export const one: Rational = { num: 1n, den: 1n };
export const integer = (value: number | bigint): Rational => ({ num: BigInt(value), den: 1n });

const magnitude = (value: bigint): bigint => (value < 0n ? -value : value);

function greatestCommonDivisor(a: bigint, b: bigint, budget: Budget): bigint {
  let [larger, smaller] = [magnitude(a), magnitude(b)];
  while (smaller !== 0n) {
    budget.spend();
    [larger, smaller] = [smaller, larger % smaller];
  }
  return larger;
}

/** @throws LimitReached where a part is too large; RangeError where the denominator is 0 */
export function rational(num: bigint, den: bigint, budget: Budget): Rational {
  if (den === 0n) throw new RangeError("division by zero");
  if (magnitude(num) > largest * largest || magnitude(den) > largest * largest) throw new LimitReached("a long number");
  const divisor = den === 1n ? 1n : greatestCommonDivisor(num, den, budget) * (den < 0n ? -1n : 1n);
  const reduced = { num: num / divisor, den: den / divisor };
  if (magnitude(reduced.num) > largest || reduced.den > largest) throw new LimitReached("a long number");
  return reduced;
}

export const add = (a: Rational, b: Rational, budget: Budget): Rational =>
  rational(a.num * b.den + b.num * a.den, a.den * b.den, budget);

export const multiply = (a: Rational, b: Rational, budget: Budget): Rational =>
  rational(a.num * b.num, a.den * b.den, budget);

export const divide = (a: Rational, b: Rational, budget: Budget): Rational =>
  rational(a.num * b.den, a.den * b.num, budget);

export const negate = (a: Rational): Rational => ({ num: -a.num, den: a.den });

export const equalRationals = (a: Rational, b: Rational): boolean => a.num === b.num && a.den === b.den;

/** @throws LimitReached where the exponent or the power is too large */
export function power(base: Rational, exponent: number, budget: Budget): Rational {
  const isUnit = base.den === 1n && (base.num === 0n || base.num === 1n || base.num === -1n);
  const bits = Math.max(base.num.toString(16).length, base.den.toString(16).length) * 4;
  if (!isUnit && bits * Math.abs(exponent) > maxBits + 4 * maxExponent) throw new LimitReached("a large power");
  const steps = BigInt(isUnit ? 2 + (Math.abs(exponent) % 2) : Math.abs(exponent));
  const raised = { num: base.num ** (exponent === 0 ? 0n : steps), den: base.den ** (exponent === 0 ? 0n : steps) };
  return exponent < 0 ? rational(raised.den, raised.num, budget) : rational(raised.num, raised.den, budget);
}

/** The nearest float64, or nearly. */
export function toNumber(value: Rational): number {
  const direct = Number(value.num) / Number(value.den);
  if (Number.isFinite(direct) && (direct !== 0 || value.num === 0n)) return direct;
  const shift = value.num.toString(2).length - value.den.toString(2).length - 64;
  const scaled = shift >= 0 ? value.num / (value.den << BigInt(shift)) : (value.num << BigInt(-shift)) / value.den;
  return Number(scaled) * 2 ** shift;
}
