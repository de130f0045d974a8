/** Arithmetic on whole numbers as it is written, and the slip that is made in it: a carry or a borrow is forgotten. */

export type Sign = "+" | "-" | "*" | "/";

export interface Operation {
  readonly left: bigint;
  readonly sign: Sign;
  readonly right: bigint;
}

/** The exact result; undefined of a division that leaves a remainder or is by 0. */
export function resultOf({ left, sign, right }: Operation): bigint | undefined {
  switch (sign) {
    case "+":
      return left + right;
    case "-":
      return left - right;
    case "*":
      return left * right;
    case "/":
      return right === 0n || left % right !== 0n ? undefined : left / right;
    default:
      return sign satisfies never;
  }
}

/** `left sign right = result` with integers; undefined of another line. */
export function parseOperation(line: string): (Operation & { readonly result: bigint }) | undefined {
  const parts = /^(-?\d+)([-+*/])(-?\d+)=(-?\d+)$/.exec(line);
  if (parts === null) return undefined;
  const [, left, sign, right, result] = parts;
  return { left: BigInt(left), sign: sign as Sign, right: BigInt(right), result: BigInt(result) };
}

/**
 * The result of somebody who works column by column and forgets the lowest carry (of a difference, the lowest borrow);
 * undefined where there is none, in divisions, and in products of which no factor is one digit with zeros behind it.
 */
export function slippedResult({ left, sign, right }: Operation): bigint | undefined {
  if (sign === "/") return undefined;
  if (sign === "*") return slippedProduct(left, right);
  const other = sign === "+" ? right : -right;
  const [large, small] = magnitude(left) >= magnitude(other) ? [left, other] : [other, left];
  const [a, b] = [magnitude(large), magnitude(small)];
  const slipped = large < 0n === small < 0n ? sumWithoutCarry(a, b) : differenceWithoutBorrow(a, b);
  return slipped === undefined || large >= 0n ? slipped : -slipped;
}

const magnitude = (value: bigint): bigint => (value < 0n ? -value : value);

/** a, b ≥ 0 */
function sumWithoutCarry(a: bigint, b: bigint): bigint | undefined {
  for (let unit = 1n; unit <= a || unit <= b; unit *= 10n) {
    if (digit(a, unit) + digit(b, unit) >= 10n) return a + b - 10n * unit;
  }
  return undefined;
}

/** a ≥ b ≥ 0 */
function differenceWithoutBorrow(a: bigint, b: bigint): bigint | undefined {
  for (let unit = 1n; unit <= b; unit *= 10n) {
    if (digit(a, unit) < digit(b, unit)) return a - b + 10n * unit;
  }
  return undefined;
}

function slippedProduct(left: bigint, right: bigint): bigint | undefined {
  const [a, b] = [magnitude(left), magnitude(right)];
  const slipped = isRound(b) ? productWithoutCarry(a, b) : isRound(a) ? productWithoutCarry(b, a) : undefined;
  return slipped === undefined || left < 0n === right < 0n ? slipped : -slipped;
}

const isRound = (value: bigint): boolean => /^[1-9]0*$/.test(String(value));

/** a ≥ 0; b is one digit with zeros behind it */
function productWithoutCarry(a: bigint, b: bigint): bigint | undefined {
  const zeros = 10n ** BigInt(String(b).length - 1);
  for (let unit = 1n; unit <= a; unit *= 10n) {
    const column = digit(a, unit) * (b / zeros);
    if (column >= 10n) return a * b - (column / 10n) * 10n * unit * zeros;
  }
  return undefined;
}

const digit = (value: bigint, unit: bigint): bigint => (value / unit) % 10n;
