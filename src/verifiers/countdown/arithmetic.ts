/** Sums, differences, products and quotients of whole numbers, in exact fractions. */

import { LimitReached, maxDepth, maxDigits, type Budget } from "../math/budget.ts";
import { add, divide, integer, multiply, negate, type Rational } from "../math/rational.ts";

export interface Arithmetic {
  readonly value: Rational;
  /** as they are written in it, in order */
  readonly numbers: readonly bigint[];
}

/**
 * expression = term { (+ | -) term },  term = factor { (* | /) factor },  factor = number | - factor | ( expression )
 * @throws SyntaxError where it is none of these, RangeError where it divides by 0, LimitReached where it is too large
 */
export function exactValue(written: string, maxNumbers: number, budget: Budget): Arithmetic {
  const tokens = written.match(/\d+|\S/g) ?? [];
  const numbers: bigint[] = [];
  let at = 0;
  let depth = 0;

  const factor = (): Rational => {
    budget.spend();
    const token = tokens[at++] ?? "";
    if (/^\d/.test(token)) {
      if (numbers.length === maxNumbers || token.length > maxDigits) throw new LimitReached("more numbers than given");
      numbers.push(BigInt(token));
      return integer(numbers[numbers.length - 1]);
    }
    if (++depth > maxDepth) throw new LimitReached(`deeper than ${maxDepth}`);
    let value: Rational;
    if (token === "-") value = negate(factor());
    else if (token === "(") {
      value = sum();
      if (tokens[at++] !== ")") throw new SyntaxError("expected )");
    } else throw new SyntaxError(`expected a number, received ${token}`);
    depth--;
    return value;
  };
  const product = (): Rational => {
    let value = factor();
    for (let sign = tokens[at]; sign === "*" || sign === "/"; sign = tokens[at]) {
      at++;
      value = (sign === "*" ? multiply : divide)(value, factor(), budget);
    }
    return value;
  };
  const sum = (): Rational => {
    let value = product();
    for (let sign = tokens[at]; sign === "+" || sign === "-"; sign = tokens[at]) {
      at++;
      const term = product();
      value = add(value, sign === "+" ? term : negate(term), budget);
    }
    return value;
  };

  const value = sum();
  if (at < tokens.length) throw new SyntaxError(`expected an operator, received ${tokens[at]}`);
  return { value, numbers };
}
