/** Polynomials with rational coefficients in named atoms. */

import { LimitReached, maxTerms, type Budget } from "./budget.ts";
import { add, equalRationals, multiply, negate, one, type Rational, zero } from "./rational.ts";

/** Powers of atoms, sorted by atom. */
type Monomial = readonly (readonly [atom: string, exponent: number])[];

interface Term {
  readonly monomial: Monomial;
  readonly coefficient: Rational;
}

/** Terms by the writing of their monomial; no coefficient is 0. */
export type Polynomial = ReadonlyMap<string, Term>;

/** What atom ^ exponent becomes, with the smaller power that is left; undefined where the atom obeys no rule. */
export type Reduction = (
  atom: string,
  exponent: number,
) => { readonly factor: Rational; readonly exponent: number } | undefined;

const writing = (monomial: Monomial): string => monomial.map(([atom, exponent]) => `${atom}^${exponent}`).join("*");

export function constant(value: Rational): Polynomial {
  return value.num === 0n ? new Map() : new Map([["", { monomial: [], coefficient: value }]]);
}

export function atomPolynomial(atom: string): Polynomial {
  const monomial = [[atom, 1]] as const;
  return new Map([[writing(monomial), { monomial, coefficient: one }]]);
}

/** The value of a polynomial without atoms. */
export function constantOf(polynomial: Polynomial): Rational | undefined {
  if (polynomial.size === 0) return zero;
  return polynomial.size === 1 ? polynomial.get("")?.coefficient : undefined;
}

function accumulate(terms: Map<string, Term>, { monomial, coefficient }: Term, budget: Budget): void {
  const key = writing(monomial);
  const sum = add(terms.get(key)?.coefficient ?? zero, coefficient, budget);
  if (sum.num === 0n) terms.delete(key);
  else terms.set(key, { monomial, coefficient: sum });
  if (terms.size > maxTerms) throw new LimitReached(`more than ${maxTerms} terms`);
}

export function addPolynomials(a: Polynomial, b: Polynomial, budget: Budget): Polynomial {
  const terms = new Map(a);
  for (const term of b.values()) accumulate(terms, term, budget);
  return terms;
}

export function negatePolynomial(a: Polynomial): Polynomial {
  return new Map(
    [...a].map(([key, { monomial, coefficient }]) => [key, { monomial, coefficient: negate(coefficient) }]),
  );
}

export function multiplyPolynomials(a: Polynomial, b: Polynomial, reduce: Reduction, budget: Budget): Polynomial {
  const terms = new Map<string, Term>();
  for (const left of a.values()) {
    for (const right of b.values()) {
      budget.spend(1 + left.monomial.length + right.monomial.length);
      accumulate(terms, multiplyTerms(left, right, reduce, budget), budget);
    }
  }
  return terms;
}

function multiplyTerms(left: Term, right: Term, reduce: Reduction, budget: Budget): Term {
  const exponents = new Map<string, number>(left.monomial);
  let coefficient = multiply(left.coefficient, right.coefficient, budget);
  for (const [atom, exponent] of right.monomial) {
    const raised = (exponents.get(atom) ?? 0) + exponent;
    const reduced = reduce(atom, raised);
    if (reduced !== undefined) coefficient = multiply(coefficient, reduced.factor, budget);
    const left = reduced === undefined ? raised : reduced.exponent;
    if (left === 0) exponents.delete(atom);
    else exponents.set(atom, left);
  }
  return { monomial: [...exponents].sort(([a], [b]) => (a < b ? -1 : 1)), coefficient };
}

/** One writing for equal polynomials. */
export function polynomialKey(polynomial: Polynomial): string {
  return [...polynomial]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([
        key,
        {
          coefficient: { num, den },
        },
      ]) => `${num}/${den}*${key}`,
    )
    .join(" + ");
}

/** The number that b is multiplied by to give a; undefined where there is none. Neither is 0. */
export function proportion(a: Polynomial, b: Polynomial, budget: Budget): Rational | undefined {
  if (a.size !== b.size || a.size === 0) return undefined;
  let ratio: Rational | undefined;
  for (const [key, { coefficient }] of a) {
    const other = b.get(key)?.coefficient;
    if (other === undefined) return undefined;
    const here = multiply(coefficient, { num: other.den, den: 1n }, budget);
    const quotient = multiply(here, inverseOf(other.num), budget);
    ratio ??= quotient;
    if (!equalRationals(ratio, quotient)) return undefined;
  }
  return ratio;
}

const inverseOf = (value: bigint): Rational => (value < 0n ? { num: -1n, den: -value } : { num: 1n, den: value });
