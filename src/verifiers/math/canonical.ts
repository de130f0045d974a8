/**
 * Expressions as quotients of polynomials, exactly. Atoms are variables, π, e, i, square roots of primes, and whatever
 * cannot be opened (a sine, a power with a variable exponent), by the canonical writing of its parts.
 */

import { LimitReached, maxExponent, type Budget } from "./budget.ts";
import { degree, imaginary, infinity, type Expression } from "./expression.ts";
import {
  addPolynomials,
  atomPolynomial,
  constant,
  constantOf,
  multiplyPolynomials,
  negatePolynomial,
  polynomialKey,
  type Polynomial,
} from "./polynomial.ts";
import { divide, integer, one, power as rationalPower, rational, type Rational } from "./rational.ts";

export interface Quotient {
  readonly num: Polynomial;
  readonly den: Polynomial;
}

/** A quotient by 0, or a value that is none. */
export class Undefined extends Error {
  override readonly name = "Undefined";
}

/** Atoms of one comparison. */
export class Canonical {
  readonly #budget: Budget;
  /** some atom may be related to the others by more than is known: different quotients can have equal values */
  hasOpaque = false;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  /** @throws Undefined, or LimitReached */
  of(expression: Expression): Quotient {
    this.#budget.spend();
    switch (expression.kind) {
      case "number":
        return this.#whole(constant(expression.value));
      case "symbol":
        return this.#symbol(expression.name);
      case "sum":
        return expression.terms.map((term) => this.of(term)).reduce((a, b) => this.add(a, b));
      case "product":
        return expression.factors.map((factor) => this.of(factor)).reduce((a, b) => this.multiply(a, b));
      case "power":
        return this.#power(this.of(expression.base), this.of(expression.exponent));
      case "call":
        return this.#call(expression.name, expression.args);
    }
  }

  /** a − b is 0. */
  isDifferenceZero(a: Quotient, b: Quotient): boolean {
    return (
      addPolynomials(this.#times(a.num, b.den), negatePolynomial(this.#times(b.num, a.den)), this.#budget).size === 0
    );
  }

  add(a: Quotient, b: Quotient): Quotient {
    const isShared = polynomialKey(a.den) === polynomialKey(b.den);
    if (isShared) return { num: addPolynomials(a.num, b.num, this.#budget), den: a.den };
    const num = addPolynomials(this.#times(a.num, b.den), this.#times(b.num, a.den), this.#budget);
    return this.#simplified({ num, den: this.#times(a.den, b.den) });
  }

  multiply(a: Quotient, b: Quotient): Quotient {
    return this.#simplified({ num: this.#times(a.num, b.num), den: this.#times(a.den, b.den) });
  }

  #times(a: Polynomial, b: Polynomial): Polynomial {
    return multiplyPolynomials(a, b, reduceAtom, this.#budget);
  }

  #whole(num: Polynomial): Quotient {
    return { num, den: constant(one) };
  }

  /** A denominator that is a number is divided out. */
  #simplified({ num, den }: Quotient): Quotient {
    if (den.size === 0) throw new Undefined("division by zero");
    const divisor = constantOf(den);
    if (divisor === undefined) return { num, den };
    return this.#whole(this.#times(num, constant(divide(one, divisor, this.#budget))));
  }

  #symbol(name: string): Quotient {
    if (name === infinity) this.hasOpaque = true;
    if (name !== degree) return this.#whole(atomPolynomial(name));
    return this.multiply(this.#symbol("π"), this.#whole(constant({ num: 1n, den: 180n })));
  }

  #opaque(name: string, parts: readonly Quotient[]): Quotient {
    this.hasOpaque = true;
    const writings = parts.map(({ num, den }) => `(${polynomialKey(num)})/(${polynomialKey(den)})`);
    return this.#whole(atomPolynomial(`${name}[${writings.join(";")}]`));
  }

  #power(base: Quotient, exponent: Quotient): Quotient {
    const value = this.#number(exponent);
    if (value === undefined) return this.#opaque("power", [base, exponent]);
    if (value.den === 1n) return this.#integerPower(base, value.num);
    const root = value.den === 2n ? this.#squareRoot(base) : undefined;
    if (root !== undefined) return this.#integerPower(root, value.num);
    return this.#integerPower(this.#opaque(`root ${value.den}`, [base]), value.num);
  }

  #number({ num, den }: Quotient): Rational | undefined {
    const [above, below] = [constantOf(num), constantOf(den)];
    return above === undefined || below === undefined ? undefined : divide(above, below, this.#budget);
  }

  #integerPower(base: Quotient, exponent: bigint): Quotient {
    const size = exponent < 0n ? -exponent : exponent;
    const value = this.#number(base);
    if (value !== undefined && size <= BigInt(Number.MAX_SAFE_INTEGER)) {
      if (value.num === 0n && exponent <= 0n) throw new Undefined("a power of zero");
      return this.#whole(constant(rationalPower(value, Number(exponent), this.#budget)));
    }
    if (size > BigInt(maxExponent)) throw new LimitReached(`an exponent above ${maxExponent}`);
    let raised = this.#whole(constant(one));
    for (let factor = 0; factor < Number(size); factor++) raised = this.multiply(raised, base);
    return exponent < 0n ? this.#simplified({ num: raised.den, den: raised.num }) : raised;
  }

  /** Of a number: its square part, and the roots of the primes that are left; of −1: i. */
  #squareRoot(base: Quotient): Quotient | undefined {
    const value = this.#number(base);
    if (value === undefined) return undefined;
    // √(a / b) = √(a b) / b
    const { square, primes } = this.#factored(value.num * value.den);
    let root = this.#whole(constant(rational(square, value.den, this.#budget)));
    for (const prime of primes) root = this.multiply(root, this.#whole(atomPolynomial(prime)));
    return root;
  }

  #factored(value: bigint): { square: bigint; primes: string[] } {
    if (value === 0n) return { square: 0n, primes: [] };
    const primes: string[] = value < 0n ? [imaginary] : [];
    let square = 1n;
    let rest = value < 0n ? -value : value;
    for (let divisor = 2n; divisor <= largestDivisor && divisor * divisor <= rest; divisor++) {
      this.#budget.spend();
      while (rest % (divisor * divisor) === 0n) {
        rest /= divisor * divisor;
        square *= divisor;
      }
      if (rest % divisor === 0n) {
        rest /= divisor;
        primes.push(`√${divisor}`);
      }
    }
    if (rest === 1n) return { square, primes };
    const root = integerRoot(rest);
    if (root * root === rest) return { square: square * root, primes };
    // What is left has no small divisor: a prime, or the product of large ones, which may share one with another.
    if (rest > largestDivisor * largestDivisor) this.hasOpaque = true;
    return { square, primes: [...primes, `√${rest}`] };
  }

  #call(name: string, args: readonly Expression[]): Quotient {
    const parts = args.map((arg) => this.of(arg));
    const value = this.#number(parts[0]);
    if (value !== undefined && parts.length === 1) {
      if (name === "abs")
        return this.#whole(constant({ num: value.num < 0n ? -value.num : value.num, den: value.den }));
      const exact = name === "factorial" ? this.#factorial(value) : rounded(name, value);
      if (exact !== undefined) return this.#whole(constant(exact));
    }
    const second = parts.length === 2 ? this.#number(parts[1]) : undefined;
    if (name === "binom" && value !== undefined && second !== undefined) {
      const exact = this.#binomial(value, second);
      if (exact !== undefined) return this.#whole(constant(exact));
    }
    return this.#opaque(name, parts);
  }

  #factorial({ num, den }: Rational): Rational | undefined {
    if (den !== 1n || num < 0n) return undefined;
    if (num > BigInt(maxExponent)) throw new LimitReached("a large factorial");
    let result = one;
    for (let factor = 2n; factor <= num; factor++) result = rational(result.num * factor, 1n, this.#budget);
    return result;
  }

  #binomial(upper: Rational, lower: Rational): Rational | undefined {
    if (upper.den !== 1n || lower.den !== 1n || lower.num < 0n || upper.num < lower.num) return undefined;
    if (lower.num > BigInt(maxExponent)) throw new LimitReached("a large binomial");
    let result = one;
    for (let k = 1n; k <= lower.num; k++)
      result = rational(result.num * (upper.num - lower.num + k), result.den * k, this.#budget);
    return result;
  }
}

const largestDivisor = 5000n;

function rounded(name: string, { num, den }: Rational): Rational | undefined {
  if (name !== "floor" && name !== "ceil") return undefined;
  const towardsZero = num / den;
  if (towardsZero * den === num) return integer(towardsZero);
  if (name === "floor") return integer(num < 0n ? towardsZero - 1n : towardsZero);
  return integer(num < 0n ? towardsZero : towardsZero + 1n);
}

/** ⌊√value⌋ by Newton's iteration from above. */
function integerRoot(value: bigint): bigint {
  let guess = 1n << BigInt(Math.ceil(value.toString(2).length / 2));
  for (;;) {
    const next = (guess + value / guess) / 2n;
    if (next >= guess) return guess;
    guess = next;
  }
}

/** i² = −1 and (√p)² = p. */
function reduceAtom(atom: string, exponent: number): { factor: Rational; exponent: number } | undefined {
  const isRoot = atom.startsWith("√");
  if (exponent < 2 || (!isRoot && atom !== imaginary)) return undefined;
  const square = isRoot ? BigInt(atom.slice(1)) : -1n;
  return { factor: integer(square ** BigInt(Math.floor(exponent / 2))), exponent: exponent % 2 };
}
