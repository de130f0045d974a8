/** An answer in one notation, cut into tokens. */

import { LimitReached, maxDigits, maxTokens } from "./budget.ts";

export interface Token {
  /** a number, a variable or function, a word of prose, or a mark: operator, bracket or command */
  readonly kind: "number" | "name" | "word" | "mark";
  readonly text: string;
  /** white space stands before it */
  readonly spaced: boolean;
}

/** Functions of one argument, by every name they are written with. */
export const functionNames: Readonly<Record<string, string>> = {
  sin: "sin",
  cos: "cos",
  tan: "tan",
  cot: "cot",
  sec: "sec",
  csc: "csc",
  arcsin: "asin",
  asin: "asin",
  arccos: "acos",
  acos: "acos",
  arctan: "atan",
  atan: "atan",
  sinh: "sinh",
  cosh: "cosh",
  tanh: "tanh",
  ln: "ln",
  log: "log",
  exp: "exp",
  sqrt: "sqrt",
  abs: "abs",
};

const greek =
  "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell hbar";
const greekNames: ReadonlySet<string> = new Set(greek.split(" "));

const marks: Readonly<Record<string, string>> = {
  cdot: "*",
  times: "*",
  ast: "*",
  div: "/",
  le: "<=",
  leq: "<=",
  leqslant: "<=",
  ge: ">=",
  geq: ">=",
  geqslant: ">=",
  lt: "<",
  gt: ">",
  ne: "!=",
  neq: "!=",
  in: "in",
  cup: "cup",
  pm: "pm",
  mp: "mp",
  lvert: "|",
  rvert: "|",
  vert: "|",
  mid: "|",
  lbrace: "\\{",
  rbrace: "\\}",
  approx: "approx",
  land: "and",
  wedge: "and",
  lor: "or",
  vee: "or",
  circ: "circ",
  prime: "'",
  lbrack: "[",
  rbrack: "]",
};

/** Commands whose braces hold prose; and those whose braces hold mathematics that they only set differently. */
const proseCommands: ReadonlySet<string> = new Set([
  "text",
  "textbf",
  "textit",
  "textrm",
  "textnormal",
  "mbox",
  "textsf",
]);
const faceCommands: ReadonlySet<string> = new Set([
  "mathrm",
  "mathbf",
  "mathit",
  "mathsf",
  "operatorname",
  "boldsymbol",
]);

const tokenPattern =
  /\s+|\\([a-zA-Z]+)|\\([{}%|\\&])|((?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+(?![\w.]))?)|(\p{L}+)|(<=|>=|!=|==|=|.)/gsuy;

/** @throws LimitReached where there are too many, or a number is too long */
export function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  let spaced = false;
  const push = (kind: Token["kind"], written: string): void => {
    if (tokens.length === maxTokens) throw new LimitReached(`more than ${maxTokens} tokens`);
    tokens.push({ kind, text: written, spaced });
    spaced = false;
  };
  const previous = (): Token["kind"] | undefined => tokens.at(-1)?.kind;
  tokenPattern.lastIndex = 0;
  for (let match = tokenPattern.exec(text); match !== null; match = tokenPattern.exec(text)) {
    const [whole, command, escaped, number, letters, other] = match;
    if (command !== undefined) {
      tokenPattern.lastIndex = pushCommand(command, text, tokenPattern.lastIndex, push, previous);
    } else if (escaped !== undefined) push("mark", escaped === "\\" ? "row" : escaped === "|" ? "|" : `\\${escaped}`);
    else if (number !== undefined) {
      if (number.length > maxDigits) throw new LimitReached(`a number of more than ${maxDigits} digits`);
      push("number", number);
    } else if (letters !== undefined) pushLetters(letters, push, previous() === "word");
    else if (other !== undefined) push("mark", other === "==" ? "=" : other);
    else spaced = whole !== "";
  }
  return tokens;
}

type Push = (kind: Token["kind"], text: string) => void;

/** Gives where to read on. */
function pushCommand(
  command: string,
  text: string,
  at: number,
  push: Push,
  previous: () => Token["kind"] | undefined,
): number {
  if (proseCommands.has(command) || faceCommands.has(command) || command === "mathbb") {
    const group = /^\s*\{([^{}]*)\}/.exec(text.slice(at, at + 400));
    if (group === null) return at;
    if (command === "mathbb") push("name", `\\${group[1].trim()}`);
    else
      for (const word of group[1].match(/\p{L}+|[^\p{L}\s]/gu) ?? []) {
        // A letter of prose behind a number is a unit.
        const isUnit = !faceCommands.has(command) && previous() === "number" && Object.hasOwn(unitNames, word);
        if (isUnit) push("word", word);
        else pushProse(word, faceCommands.has(command), push);
      }
    return at + group[0].length;
  }
  // \sqrt may have an order in brackets; `sqrt` in plain text is a function like others.
  if (command === "sqrt") push("mark", command);
  else if (Object.hasOwn(functionNames, command)) push("name", command);
  else if (command === "pi") push("name", "π");
  else if (command === "infty") push("name", "∞");
  else if (greekNames.has(command)) push("name", `\\${command}`);
  else push("mark", Object.hasOwn(marks, command) ? marks[command] : command);
  return at;
}

function pushProse(word: string, isFace: boolean, push: Push): void {
  if (/^\p{L}+$/u.test(word)) {
    if (word === "and" || word === "or") push("mark", word);
    else if (word.length === 1 || (isFace && Object.hasOwn(functionNames, word))) push("name", word);
    else push("word", word);
  } else if (/^\d$/.test(word)) push("number", word);
  else push("mark", word);
}

/** Longer runs of letters are words, unless they are functions; so are these. */
const longestProduct = 3;
const shortWords: ReadonlySet<string> = new Set([
  "the",
  "per",
  "is",
  "of",
  "for",
  "are",
  "to",
  "at",
  "by",
  "not",
  "no",
  "yes",
]);

/** A run of letters: a function, a constant, a product of variables, or a word where it is long. */
function pushLetters(letters: string, push: Push, isProse: boolean): void {
  const lower = letters.toLowerCase();
  if (letters === "and" || letters === "or") push("mark", letters);
  else if (/^(?:and|or)[A-Z]/.test(letters)) {
    const connective = letters.startsWith("or") ? "or" : "and";
    push("mark", connective);
    pushLetters(letters.slice(connective.length), push, isProse);
  } else if (Object.hasOwn(functionNames, letters)) push("name", letters);
  else if (lower === "pi") push("name", "π");
  else if (lower === "inf" || lower === "infinity" || lower === "oo") push("name", "∞");
  else if (Object.hasOwn(unitNames, lower) && letters.length > 1) push("word", letters);
  else if (letters.length > longestProduct || shortWords.has(lower)) push("word", letters);
  else if (isProse && letters.length > 1) push("word", letters);
  else for (const letter of letters) push("name", letter);
}

/** Units by every name they are written with: two answers in different units are different. */
export const unitNames: Readonly<Record<string, string>> = Object.fromEntries(
  [
    "mm millimeter millimeters millimetre millimetres",
    "cm centimeter centimeters centimetre centimetres",
    "m meter meters metre metres",
    "km kilometer kilometers kilometre kilometres",
    "inch inches",
    "ft foot feet",
    "yd yard yards",
    "mi mile miles",
    "mg milligram milligrams",
    "g gram grams",
    "kg kilogram kilograms",
    "lb lbs pound pounds",
    "oz ounce ounces",
    "ml milliliter milliliters",
    "l liter liters litre litres",
    "s sec second seconds",
    "min mins minute minutes",
    "h hr hrs hour hours",
    "day days",
    "week weeks",
    "month months",
    "yr yrs year years",
    "mph",
    "kph",
    "cent cents",
    "dollar dollars usd",
    "pct percent percentage",
  ].flatMap((names) => names.split(" ").map((name, _, [first]) => [name, first] as const)),
);
