/** Tokens to an expression: the arithmetic of LaTeX and of plain text. */

import { LimitReached, maxDepth, type Budget } from "./budget.ts";
import { degree, numeral, symbol, type Expression } from "./expression.ts";
import { integer, rational, type Rational } from "./rational.ts";
import { functionNames, type Token } from "./tokens.ts";

/** The tokens are no expression. */
export class NotAnExpression extends Error {
  override readonly name = "NotAnExpression";
}

const minusOne = numeral(integer(-1));
const inverse = (base: Expression): Expression => ({ kind: "power", base, exponent: minusOne });
export const product = (...factors: readonly Expression[]): Expression => ({ kind: "product", factors });
export const negated = (expression: Expression): Expression => product(minusOne, expression);
export const difference = (a: Expression, b: Expression): Expression => ({ kind: "sum", terms: [a, negated(b)] });
export const quotient = (a: Expression, b: Expression): Expression => product(a, inverse(b));

/** −1 as it is read in `\sin^{-1}`: a sum of one negated term. */
function isMinusOne(expression: Expression): boolean {
  const only = expression.kind === "sum" && expression.terms.length === 1 ? expression.terms[0] : expression;
  const [sign, size] = only.kind === "product" ? only.factors : [];
  return sign === minusOne && size?.kind === "number" && size.value.num === 1n && size.value.den === 1n;
}

/** Wrappers that say nothing about the value: an arrow, a bar, a hat over a name. */
const ornaments: ReadonlySet<string> = new Set([
  "overline",
  "vec",
  "hat",
  "overrightarrow",
  "bar",
  "boxed",
  "fbox",
  "underline",
]);
const closers: Readonly<Record<string, string>> = {
  "(": ")",
  "[": "]",
  "{": "}",
  "|": "|",
  lfloor: "rfloor",
  lceil: "rceil",
};
/** Letters before brackets that name a function and not a factor. */
const functionLetters = /^[fghFG]$/;

/**
 * @param tokens all of them are read
 * @throws NotAnExpression or LimitReached
 */
export function parseExpression(tokens: readonly Token[], budget: Budget): Expression {
  const parser = new Parser(tokens, budget);
  const expression = parser.sum();
  parser.end();
  return expression;
}

/** The value of a number as it is written; Rational and how many digits were given. */
export function parseNumber(written: string, budget: Budget): Expression {
  const [mantissa, exponent = "0"] = written.toLowerCase().split("e");
  const [whole, fraction = ""] = mantissa.split(".");
  const scale = Number(exponent) - fraction.length;
  if (Math.abs(scale) > 1000) throw new LimitReached("a large exponent");
  const digits = BigInt(`${whole}${fraction}` || "0");
  const value: Rational =
    scale >= 0 ? rational(digits * 10n ** BigInt(scale), 1n, budget) : rational(digits, 10n ** BigInt(-scale), budget);
  if (!mantissa.includes(".")) return { kind: "number", value };
  return {
    kind: "number",
    value,
    decimals: Math.max(0, -scale),
    significant: `${whole}${fraction}`.replace(/^0+/, "").length,
  };
}

class Parser {
  readonly #tokens: readonly Token[];
  readonly #budget: Budget;
  #at = 0;
  #depth = 0;
  /** how many bars are open: a bar then closes */
  #bars = 0;

  constructor(tokens: readonly Token[], budget: Budget) {
    this.#tokens = tokens;
    this.#budget = budget;
  }

  get #next(): Token | undefined {
    return this.#tokens[this.#at];
  }

  #is(text: string, ahead = 0): boolean {
    const token = this.#tokens[this.#at + ahead];
    return token?.kind === "mark" && token.text === text;
  }

  #take(text: string): boolean {
    const taken = this.#is(text);
    if (taken) this.#at++;
    return taken;
  }

  #expect(text: string): void {
    if (!this.#take(text)) throw new NotAnExpression(`expected ${text}`);
  }

  end(): void {
    if (this.#at < this.#tokens.length) throw new NotAnExpression(`unexpected ${this.#tokens[this.#at].text}`);
  }

  #deeper<T>(read: () => T): T {
    this.#budget.spend();
    if (++this.#depth > maxDepth) throw new LimitReached(`more than ${maxDepth} levels`);
    const result = read();
    this.#depth--;
    return result;
  }

  sum(): Expression {
    const terms: Expression[] = [];
    let minus = false;
    let signed = false;
    while (this.#is("+") || this.#is("-")) {
      if (this.#is("-")) minus = !minus;
      signed = true;
      this.#at++;
    }
    for (;;) {
      const term = this.#term();
      terms.push(minus ? negated(term) : term);
      if (!this.#is("+") && !this.#is("-")) break;
      minus = this.#is("-");
      this.#at++;
      if (this.#take("-")) minus = !minus;
    }
    return terms.length === 1 && !signed ? terms[0] : { kind: "sum", terms };
  }

  #term(): Expression {
    const factors = [this.#factor()];
    for (;;) {
      if (this.#take("*")) factors.push(this.#signedFactor());
      else if (this.#take("/") || this.#take(":")) {
        // a / b c is (a / b) c where all is written alike.
        factors.push(inverse(this.#signedFactor()));
      } else if (this.#startsFactor()) factors.push(this.#factor());
      else break;
    }
    return factors.length === 1 ? factors[0] : { kind: "product", factors };
  }

  #signedFactor(): Expression {
    if (this.#take("-")) return negated(this.#deeper(() => this.#signedFactor()));
    this.#take("+");
    return this.#factor();
  }

  #startsFactor(): boolean {
    const token = this.#next;
    if (token === undefined || token.kind === "word") return false;
    if (token.kind === "name") return true;
    // Two numbers side by side are no product; a mixed number is read with its first.
    if (token.kind === "number") return this.#tokens[this.#at - 1]?.kind !== "number";
    if (token.text === "|") return this.#bars === 0;
    return (
      ["(", "[", "{", "frac", "sqrt", "binom", "lfloor", "lceil", "sum", "prod", "int"].includes(token.text) ||
      ornaments.has(token.text)
    );
  }

  #factor(): Expression {
    return this.#deeper(() => {
      const start = this.#next;
      const mixed = start?.kind === "number" ? this.#mixedNumber() : undefined;
      if (mixed !== undefined) return mixed;
      return this.#postfix(this.#primary());
    });
  }

  /** `2\frac{1}{3}` and `2 1/3`: a sum, though it looks like a product. */
  #mixedNumber(): Expression | undefined {
    const rest = this.#tokens.slice(this.#at, this.#at + 8);
    const whole = rest[0].text;
    if (!/^\d+$/.test(whole)) return undefined;
    const shape = rest.map(({ kind, text }) => (kind === "number" && /^\d+$/.test(text) ? "n" : text)).join(" ");
    const braced = /^n frac \{ n \} \{ n \}/.test(shape);
    const short = /^n frac n(?! n|\d)/.test(shape) && /^\d{2}$/.test(rest[2].text);
    const plain = /^n n \/ n/.test(shape) && rest[1].spaced;
    if (!braced && !short && !plain) return undefined;
    const parts = braced
      ? [rest[3].text, rest[6].text]
      : short
        ? Array.from(rest[2].text)
        : [rest[1].text, rest[3].text];
    this.#at += braced ? 8 : short ? 3 : 4;
    const [num, den] = parts.map(BigInt);
    if (den === 0n) throw new NotAnExpression("division by zero");
    const value = rational(BigInt(whole) * den + num, den, this.#budget);
    return { kind: "number", value };
  }

  #postfix(primary: Expression): Expression {
    let value = primary;
    for (;;) {
      if (this.#is("^") && (this.#is("circ", 1) || (this.#is("{", 1) && this.#is("circ", 2) && this.#is("}", 3)))) {
        this.#at += this.#is("circ", 1) ? 2 : 4;
        value = product(value, symbol(degree));
      } else if (this.#take("^")) value = { kind: "power", base: value, exponent: this.#argument() };
      else if (this.#is("!") && !this.#is("=", 1)) {
        this.#at++;
        value = { kind: "call", name: "factorial", args: [value] };
      } else return value;
    }
  }

  /** What belongs to `^`, `_`, `\frac` or `\sqrt`: a group, or one sign; of a number written in LaTeX's short form its first digit. */
  #argument(): Expression {
    return this.#deeper(() => {
      if (this.#take("{")) {
        const inside = this.sum();
        this.#expect("}");
        return inside;
      }
      if (this.#take("-")) return negated(this.#argument());
      const token = this.#next;
      if (token?.kind === "number") {
        this.#at++;
        return parseNumber(token.text, this.#budget);
      }
      return this.#primary();
    });
  }

  #primary(): Expression {
    const token = this.#next;
    if (token === undefined) throw new NotAnExpression("it ends early");
    if (token.kind === "number") {
      this.#at++;
      return parseNumber(token.text, this.#budget);
    }
    if (token.kind === "name") return this.#name();
    if (token.kind === "word") throw new NotAnExpression(`unexpected ${token.text}`);
    this.#at++;
    if (token.text === "frac") return this.#fraction();
    if (token.text === "sqrt") return this.#root();
    if (token.text === "binom") return this.#binomial();
    if (token.text === "sum" || token.text === "prod" || token.text === "int") return this.#range(token.text);
    if (ornaments.has(token.text)) return this.#argument();
    if (Object.hasOwn(closers, token.text)) return this.#bracketed(token.text);
    throw new NotAnExpression(`unexpected ${token.text}`);
  }

  #bracketed(open: string): Expression {
    const inside = this.#deeper(() => {
      const bars = this.#bars;
      this.#bars = open === "|" ? bars + 1 : 0;
      const expression = this.sum();
      this.#bars = bars;
      return expression;
    });
    this.#expect(closers[open]);
    if (open === "|") return { kind: "call", name: "abs", args: [inside] };
    if (open.startsWith("l")) return { kind: "call", name: open.slice(1), args: [inside] };
    return inside;
  }

  /** `\frac{a}{b}`, `\frac ab`, and `\frac12` where the digits are one token. */
  #fraction(): Expression {
    const token = this.#next;
    if (token?.kind === "number" && /^\d{2,}$/.test(token.text)) {
      this.#at++;
      const [num, den, ...rest] = Array.from(token.text).map((digit) => parseNumber(digit, this.#budget));
      const value = quotient(num, den);
      if (rest.length === 0) return value;
      return product(value, parseNumber(token.text.slice(2), this.#budget));
    }
    if (token?.kind === "number" && /^\d$/.test(token.text)) {
      this.#at++;
      const den = this.#argument();
      return quotient(parseNumber(token.text, this.#budget), den);
    }
    const num = this.#argument();
    return quotient(num, this.#argument());
  }

  #root(): Expression {
    let index: Expression = numeral(integer(2));
    if (this.#take("[")) {
      index = this.sum();
      this.#expect("]");
    }
    return { kind: "power", base: this.#argument(), exponent: inverse(index) };
  }

  #binomial(): Expression {
    const upper = this.#argument();
    return { kind: "call", name: "binom", args: [upper, this.#argument()] };
  }

  /** `\sum_{k=0}^{n} body`: bounds and body, compared as they are written. */
  #range(name: string): Expression {
    const args: Expression[] = [];
    if (this.#take("_")) args.push(this.#subscriptBound());
    if (this.#take("^")) args.push(this.#argument());
    args.push(this.#deeper(() => this.#term()));
    return { kind: "call", name, args };
  }

  #subscriptBound(): Expression {
    if (!this.#take("{")) return this.#argument();
    const variable = this.sum();
    if (!this.#take("=")) {
      this.#expect("}");
      return variable;
    }
    const from = this.sum();
    this.#expect("}");
    return { kind: "call", name: "from", args: [variable, from] };
  }

  #name(): Expression {
    const { text } = this.#tokens[this.#at++];
    if (Object.hasOwn(functionNames, text)) return this.#call(functionNames[text]);
    let name = text;
    if (this.#take("_")) name += `_${this.#subscript()}`;
    while (this.#take("'")) name += "'";
    if (functionLetters.test(text) && this.#is("(")) return { kind: "call", name, args: this.#callArguments() };
    return symbol(name);
  }

  #subscript(): string {
    if (!this.#take("{")) {
      const token = this.#next;
      if (token === undefined) throw new NotAnExpression("it ends early");
      this.#at++;
      return token.text;
    }
    let written = "";
    for (let depth = 1; ;) {
      const token = this.#tokens.at(this.#at++);
      if (token === undefined || this.#at > this.#tokens.length) throw new NotAnExpression("expected }");
      if (token.kind === "mark" && token.text === "{") depth++;
      if (token.kind === "mark" && token.text === "}" && --depth === 0) return written;
      written += token.text;
    }
  }

  #callArguments(): Expression[] {
    this.#expect("(");
    const args = this.#deeper(() => {
      const list = [this.sum()];
      while (this.#take(",")) list.push(this.sum());
      return list;
    });
    this.#expect(")");
    return args;
  }

  /** `\sin x`, `\sin^2(x)`, `\sin^{-1} x`, `\log_2 8`, `sqrt(2)`: an argument without brackets reaches to the next function or sign. */
  #call(name: string): Expression {
    let base: Expression | undefined;
    let exponent: Expression | undefined;
    if (this.#take("_")) base = this.#argument();
    if (this.#take("^")) exponent = this.#argument();
    const argument = this.#is("(") ? this.#callArguments()[0] : this.#deeper(() => this.#bareArgument());
    const isInverse = exponent !== undefined && isMinusOne(exponent) && /^(?:sin|cos|tan)$/.test(name);
    if (name === "sqrt") return { kind: "power", base: argument, exponent: inverse(numeral(integer(2))) };
    if (name === "exp") return { kind: "power", base: symbol("e"), exponent: argument };
    const args = base === undefined ? [argument] : [argument, base];
    const call: Expression = { kind: "call", name: isInverse ? `a${name}` : name, args };
    return exponent === undefined || isInverse ? call : { kind: "power", base: call, exponent };
  }

  #bareArgument(): Expression {
    const factors = [this.#factor()];
    while (this.#startsFactor() && !this.#is("(") && !this.#isFunction()) factors.push(this.#factor());
    if (this.#is("/") && this.#tokens[this.#at + 1]?.kind === "number") {
      this.#at++;
      factors.push(inverse(this.#factor()));
    }
    return factors.length === 1 ? factors[0] : { kind: "product", factors };
  }

  #isFunction(): boolean {
    const token = this.#next;
    return token?.kind === "name" && Object.hasOwn(functionNames, token.text);
  }
}
