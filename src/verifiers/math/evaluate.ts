/** Expressions in float64, at a point: complex where i occurs, else real, and not a number outside a function's domain. */

import type { Budget } from "./budget.ts";
import { degree, imaginary, infinity, type Expression } from "./expression.ts";
import { toNumber } from "./rational.ts";

export interface Complex {
  readonly re: number;
  readonly im: number;
}

export interface Point {
  readonly variables: ReadonlyMap<string, number>;
  readonly isComplex: boolean;
}

const real = (re: number): Complex => ({ re, im: 0 });
const nowhere = real(Number.NaN);

const times = (a: Complex, b: Complex): Complex => ({ re: a.re * b.re - a.im * b.im, im: a.re * b.im + a.im * b.re });

/** The variables of an expression; names of functions that are not known count as variables. */
export function variablesOf(expression: Expression, found: Set<string> = new Set()): Set<string> {
  if (expression.kind === "symbol") found.add(expression.name);
  else if (expression.kind === "sum") for (const term of expression.terms) variablesOf(term, found);
  else if (expression.kind === "product") for (const factor of expression.factors) variablesOf(factor, found);
  else if (expression.kind === "power") {
    variablesOf(expression.base, found);
    variablesOf(expression.exponent, found);
  } else if (expression.kind === "call") for (const arg of expression.args) variablesOf(arg, found);
  return found;
}

/** NaN where it has no value there, or where a part of it has no numeric meaning. */
export function evaluate(expression: Expression, point: Point, budget: Budget): Complex {
  budget.spend();
  switch (expression.kind) {
    case "number":
      return real(toNumber(expression.value));
    case "symbol":
      return symbolValue(expression.name, point);
    case "sum": {
      const sum = { re: 0, im: 0 };
      for (const term of expression.terms) {
        const { re, im } = evaluate(term, point, budget);
        sum.re += re;
        sum.im += im;
      }
      return sum;
    }
    case "product":
      return expression.factors.map((factor) => evaluate(factor, point, budget)).reduce(times);
    case "power":
      return raised(evaluate(expression.base, point, budget), expression.exponent, point, budget);
    case "call":
      return called(
        expression.name,
        expression.args.map((arg) => evaluate(arg, point, budget)),
        point,
      );
  }
}

function symbolValue(name: string, { variables }: Point): Complex {
  if (name === "π") return real(Math.PI);
  if (name === "e") return real(Math.E);
  if (name === degree) return real(Math.PI / 180);
  if (name === infinity) return real(Infinity);
  if (name === imaginary) return { re: 0, im: 1 };
  return real(variables.get(name) ?? Number.NaN);
}

function raised(base: Complex, exponent: Expression, point: Point, budget: Budget): Complex {
  const value = evaluate(exponent, point, budget);
  if (base.im === 0 && value.im === 0) {
    if (base.re >= 0 || Number.isInteger(value.re)) return real(base.re ** value.re);
    // A root of an odd order is real.
    const order = 1 / value.re;
    if (!point.isComplex && Math.abs(order % 2) === 1) return real(-((-base.re) ** value.re));
    if (!point.isComplex) return nowhere;
  }
  if (base.re === 0 && base.im === 0) return value.re > 0 ? real(0) : nowhere;
  return complexExp(times(value, complexLog(base)));
}

const complexLog = ({ re, im }: Complex): Complex => ({ re: Math.log(Math.hypot(re, im)), im: Math.atan2(im, re) });

function complexExp({ re, im }: Complex): Complex {
  const size = Math.exp(re);
  return { re: size * Math.cos(im), im: size * Math.sin(im) };
}

const realFunctions: Readonly<Record<string, (x: number) => number>> = {
  sin: Math.sin,
  cos: Math.cos,
  tan: Math.tan,
  cot: (x) => 1 / Math.tan(x),
  sec: (x) => 1 / Math.cos(x),
  csc: (x) => 1 / Math.sin(x),
  asin: Math.asin,
  acos: Math.acos,
  atan: Math.atan,
  sinh: Math.sinh,
  cosh: Math.cosh,
  tanh: Math.tanh,
  ln: Math.log,
  floor: Math.floor,
  ceil: Math.ceil,
};

function called(name: string, args: readonly Complex[], { isComplex }: Point): Complex {
  const [{ re, im }] = args;
  if (name === "abs") return real(Math.hypot(re, im));
  if (name === "log") return logarithm(args, isComplex);
  if (name === "ln" && isComplex) return complexLog(args[0]);
  if (im !== 0 || args.length > 1 || !Object.hasOwn(realFunctions, name)) return nowhere;
  return real(realFunctions[name](re));
}

/** To its base; without one the natural logarithm, as in most of mathematics. */
function logarithm([argument, base]: readonly Complex[], isComplex: boolean): Complex {
  if (argument.im !== 0 || argument.re <= 0) return isComplex && base === undefined ? complexLog(argument) : nowhere;
  if (base === undefined) return real(Math.log(argument.re));
  return base.im !== 0 || base.re <= 0 ? nowhere : real(Math.log(argument.re) / Math.log(base.re));
}
