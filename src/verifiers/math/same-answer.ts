/** Whether an answer says the same as the known one. */

import { LimitReached, type Budget } from "./budget.ts";
import { equalValues, proportionality } from "./equal-values.ts";
import { constants, infinity, symbol, type Answer, type Expression } from "./expression.ts";
import { product, negated } from "./parse.ts";

type Relation = Extract<Answer, { kind: "relation" }>;
type Value = Extract<Answer, { kind: "value" }>;

/** False also where they are too large to be compared. */
export function sameAnswer(known: Answer, given: Answer, budget: Budget): boolean {
  try {
    return same(known, given, budget);
  } catch (error) {
    if (error instanceof LimitReached) return false;
    throw error;
  }
}

function same(known: Answer, given: Answer, budget: Budget): boolean {
  budget.spend();
  if (known.kind === "relation" && given.kind === "relation" && sameRelation(known, given, budget)) return true;
  const [left, right] = [regionOf(known) ?? named(known), regionOf(given) ?? named(given)];
  if (left !== undefined || right !== undefined) {
    if (left?.name !== undefined && right?.name !== undefined && left.name !== right.name) return false;
    // What is left is not a relation any more, or one inside another, which no rule here opens.
    return same(left?.value ?? known, right?.value ?? given, budget);
  }
  if (known.kind !== "relation" && given.kind === "relation") {
    const value = valueOfIdentity(given, budget);
    return value !== undefined && same(known, value, budget);
  }
  return sameForm(known, given, budget);
}

function sameForm(known: Answer, given: Answer, budget: Budget): boolean {
  if (known.kind === "set" || given.kind === "set") {
    const [left, right] = [elementsOf(known), elementsOf(given)];
    return left !== undefined && right !== undefined && sameItems(left, right, budget);
  }
  // A tuple may be given without its brackets.
  if (known.kind === "bracket" && given.kind === "list") return sameSequence(known.items, given.items, budget);
  switch (known.kind) {
    case "value":
      return given.kind === "value" && sameQuantity(known, given, budget);
    case "bracket":
      if (given.kind !== "bracket" || known.open !== given.open || known.close !== given.close) return false;
      return sameSequence(known.items, given.items, budget);
    case "list":
      return given.kind === "list" && sameSequence(known.items, given.items, budget);
    case "union":
      return given.kind === "union" && sameItems(known.parts, given.parts, budget);
    case "matrix":
      if (given.kind !== "matrix" || known.rows.length !== given.rows.length) return false;
      return known.rows.every((row, r) => sameSequence(row, given.rows[r], budget));
    case "based":
      return given.kind === "based" && known.digits === given.digits && known.base === given.base;
    case "text":
      return given.kind === "text" && known.text !== "" && known.text === given.text;
    case "relation":
      return false;
  }
}

function elementsOf(answer: Answer): readonly Answer[] | undefined {
  if (answer.kind === "set" || answer.kind === "list") return answer.items;
  return answer.kind === "value" || answer.kind === "text" ? [answer] : undefined;
}

function sameSequence(known: readonly Answer[], given: readonly Answer[], budget: Budget): boolean {
  return known.length === given.length && known.every((item, place) => same(item, given[place], budget));
}

/** As sets: what is written twice is there once. */
function sameItems(known: readonly Answer[], given: readonly Answer[], budget: Budget): boolean {
  const holds = (items: readonly Answer[], item: Answer, isKnown: boolean): boolean =>
    items.some((other) => (isKnown ? same(other, item, budget) : same(item, other, budget)));
  return known.every((item) => holds(given, item, false)) && given.every((item) => holds(known, item, true));
}

/** A percent sign may be left out; where it is written, 50% is also the number 1/2. */
function sameQuantity(known: Value, given: Value, budget: Budget): boolean {
  if (known.unit !== undefined && given.unit !== undefined && known.unit !== given.unit) return false;
  if (equalValues(known.value, given.value, budget)) return true;
  if ((known.percent ?? false) === (given.percent ?? false)) return false;
  const hundredth = ({ value, percent }: Value): Expression =>
    percent === true ? product(value, { kind: "number", value: { num: 1n, den: 100n } }) : value;
  return equalValues(hundredth(known), hundredth(given), budget);
}

/** The same comparisons of the same sides; an equation may be turned round and multiplied by a number. */
function sameRelation(known: Relation, given: Relation, budget: Budget): boolean {
  if (known.comparisons.join(" ") !== given.comparisons.join(" ")) return false;
  if (sameSequence(known.sides, given.sides, budget)) return true;
  const [comparison] = known.comparisons;
  if (known.comparisons.length > 1 || comparison === "in") return false;
  const [left, right] = [valuePair(known), valuePair(given)];
  if (left === undefined || right === undefined) return false;
  const factor = proportionality(left, right, budget);
  if (factor === undefined) return false;
  return comparison === "=" || comparison === "!=" || (factor.isWhole && factor.sign === 1);
}

function valuePair({ sides }: Relation): readonly [Expression, Expression] | undefined {
  const [left, right] = sides;
  return left.kind === "value" && right.kind === "value" ? [left.value, right.value] : undefined;
}

interface Named {
  readonly name: string | undefined;
  readonly value: Answer;
}

/** `x = 3`, `f(x) = x^2`, `(x, y) = (1, 2)`, `x \in S`: the value and whose it is; the last member of a chain of equations. */
function named(answer: Answer): Named | undefined {
  if (answer.kind !== "relation") return undefined;
  const { sides, comparisons } = answer;
  const value = sides.at(-1);
  if (value === undefined || !comparisons.every((mark) => mark === comparisons[0])) return undefined;
  const isChain = sides.length > 2;
  const name = nameOf(sides[0]);
  if (comparisons[0] === "in") return name === undefined || isChain ? undefined : { name, value };
  if (comparisons[0] !== "=" || (name === undefined && !isChain)) return undefined;
  return { name, value };
}

const isVariable = (expression: Expression): boolean => expression.kind === "symbol" && !constants.has(expression.name);
/** A point of a figure. Products of points are segments and angles; x y is a product of unknowns. */
const isPoint = (expression: Expression): boolean => expression.kind === "symbol" && /^[A-Z]/.test(expression.name);

function nameOf(side: Answer): string | undefined {
  if (side.kind === "bracket") {
    const names = side.items.map(nameOf);
    return names.every((name) => name !== undefined) ? `(${names.join()})` : undefined;
  }
  if (side.kind !== "value") return undefined;
  const { value } = side;
  if (value.kind === "symbol") return constants.has(value.name) && value.name !== "e" ? undefined : value.name;
  if (value.kind === "call" && !/^(?:abs|sum|prod|int)$/.test(value.name)) {
    return /^[fghFG]/.test(value.name) && value.args.every(isVariable) ? value.name : undefined;
  }
  const parts = value.kind === "call" && value.args[0].kind === "product" ? value.args[0].factors : productOf(value);
  if (parts.length < 2) return undefined;
  if (parts.every(isPoint)) return parts.map((part) => (part.kind === "symbol" ? part.name : "")).join("");
  // W(n), as it is read where W is not known to be a function.
  const [head, argument, ...rest] = parts;
  return isPoint(head) && isVariable(argument) && rest.length === 0 && head.kind === "symbol" ? head.name : undefined;
}

/** Factors, those of a quotient among them. */
function productOf(value: Expression): readonly Expression[] {
  if (value.kind !== "product") return [];
  return value.factors.map((factor) => (factor.kind === "power" && isVariable(factor.base) ? factor.base : factor));
}

/** `a < x ≤ b` as (a, b], `x ≥ a` as [a, ∞), `x ≠ a` as a union; solutions joined by or as the union of theirs. */
function regionOf(answer: Answer): Named | undefined {
  if (answer.kind === "set" && answer.items.length > 1 && answer.items.every(({ kind }) => kind === "relation")) {
    const parts = answer.items.map(regionOf);
    const name = parts[0]?.name;
    if (name === undefined || !parts.every((part) => part?.name === name)) return undefined;
    return { name, value: { kind: "union", parts: parts.flatMap((part) => (part === undefined ? [] : [part.value])) } };
  }
  if (answer.kind !== "relation" || !answer.comparisons.every((mark) => /^(?:<=?|!=)$/.test(mark))) return undefined;
  const { sides, comparisons } = answer;
  const place = sides.findIndex((side) => side.kind === "value" && isVariable(side.value));
  const variable = place < 0 ? undefined : nameOf(sides[place]);
  if (variable === undefined) return undefined;
  const positive: Answer = { kind: "value", value: symbol(infinity) };
  const negative: Answer = { kind: "value", value: negated(symbol(infinity)) };
  if (sides.length === 3 && place === 1 && !comparisons.includes("!=")) {
    return { name: variable, value: interval(sides[0], sides[2], comparisons[0] === "<=", comparisons[1] === "<=") };
  }
  if (sides.length !== 2) return undefined;
  const bound = sides[1 - place];
  const isClosed = comparisons[0] === "<=";
  if (comparisons[0] === "!=") {
    const parts = [interval(negative, bound, false, false), interval(bound, positive, false, false)];
    return { name: variable, value: { kind: "union", parts } };
  }
  const value = place === 0 ? interval(negative, bound, false, isClosed) : interval(bound, positive, isClosed, false);
  return { name: variable, value };
}

const interval = (from: Answer, to: Answer, isFromIn: boolean, isToIn: boolean): Answer => ({
  kind: "bracket",
  open: isFromIn ? "[" : "(",
  close: isToIn ? "]" : ")",
  items: [from, to],
});

/** `2 + 3 = 5`: what an equation that always holds ends with. */
function valueOfIdentity({ sides, comparisons }: Relation, budget: Budget): Answer | undefined {
  const [left, right] = sides;
  if (comparisons.length !== 1 || comparisons[0] !== "=" || left.kind !== "value" || right.kind !== "value")
    return undefined;
  return equalValues(left.value, right.value, budget) ? right : undefined;
}
