/** Countdown: an expression of given numbers whose value is the target. */

import { lastBoxed } from "./boxed.ts";
import { exactValue, type Arithmetic } from "./countdown/arithmetic.ts";
import { expressionIn } from "./countdown/extract.ts";
import { Budget, LimitReached } from "./math/budget.ts";
import { equalRationals, integer } from "./math/rational.ts";
import { afterMarker, type ExtractingVerifier } from "./verifier.ts";

interface CountdownProblem {
  readonly numbers: readonly number[];
  readonly target: number;
  readonly useAll: boolean;
}

/**
 * The last expression of a solution (that of the last box; else behind the marker, where there is one) has exactly the value
 * of the target and uses the given numbers, each once. The answer is `{ numbers, target }`; with `useAll: false` a number
 * may be left out.
 */
export function countdownVerifier(marker: string): ExtractingVerifier {
  const extract = (solution: string): string | undefined =>
    expressionIn(lastBoxed(solution)?.content ?? afterMarker(solution, marker) ?? solution);
  return {
    extract,
    verify(solution, answer) {
      const problem = readProblem(answer);
      const written = extract(solution);
      const found = written === undefined ? undefined : valueOf(written, problem.numbers.length);
      if (found === undefined) return 0;
      const isRight = equalRationals(found.value, integer(problem.target)) && usesNumbers(found.numbers, problem);
      return isRight ? 1 : 0;
    },
  };
}

/** Undefined where it is no expression, divides by 0, or holds more numbers than there are. */
function valueOf(written: string, maxNumbers: number): Arithmetic | undefined {
  try {
    return exactValue(written, maxNumbers, new Budget());
  } catch (error) {
    if (error instanceof RangeError || error instanceof SyntaxError || error instanceof LimitReached) return undefined;
    throw error;
  }
}

/** Every number of an expression is one of the given, and none is used more often than it is given. */
function usesNumbers(used: readonly bigint[], { numbers, useAll }: CountdownProblem): boolean {
  const left = numbers.map(BigInt);
  for (const number of used) {
    const at = left.indexOf(number);
    if (at < 0) return false;
    left.splice(at, 1);
  }
  return !useAll || left.length === 0;
}

function readProblem(answer: unknown): CountdownProblem {
  const { numbers, target, useAll = true } = (answer ?? {}) as Readonly<Record<string, unknown>>;
  const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
  if (!Array.isArray(numbers) || numbers.length === 0 || !numbers.every(isCount)) {
    throw new TypeError(`verify: expected answer.numbers to be integers ≥ 0, received ${JSON.stringify(numbers)}`);
  }
  if (typeof target !== "number" || !Number.isSafeInteger(target)) {
    throw new TypeError(`verify: expected answer.target to be an integer, received ${JSON.stringify(target)}`);
  }
  if (typeof useAll !== "boolean") {
    throw new TypeError(`verify: expected answer.useAll to be true or false, received ${JSON.stringify(useAll)}`);
  }
  return { numbers, target, useAll };
}
