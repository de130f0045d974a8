/**
 * The credit rules once more, without a tree: every solution is a list of steps, compared as text. Slow and plain, to hold
 * `supervise` against.
 */

import { completionOf, stepsOf, type CreditRow, type SuperviseConfig, type Tree } from "../../src/trajectory/index.ts";

interface Solution {
  readonly steps: readonly string[];
  readonly outcome: number;
  readonly corrects: number;
  readonly inGroup: boolean;
}

export function unrolledCredits(tree: Tree, config: SuperviseConfig): (node: number, token: number) => CreditRow {
  const solutions = tree.leaves.map((leaf, l): Solution => ({
    steps: stepsOf(tree, l).map((tokens) => tokens.join(" ")),
    outcome: leaf.outcome ?? Number.NaN,
    corrects: leaf.corrects,
    inGroup: leaf.source !== "repair" && leaf.source !== "search",
  }));
  const group = solutions.filter((solution) => solution.inGroup);
  const estimates = config.advantage(Float64Array.from(group, (solution) => solution.outcome));
  const advantageOf = (solution: Solution): number =>
    solution.inGroup && !Number.isNaN(solution.outcome) ? estimates[group.indexOf(solution)] : 0;

  const credits = solutions.map((solution, l) =>
    completionOf(tree, l).map((_, n) => {
      const [step, token] = locate(solution.steps, n);
      if (config.rule === "outcome") return advantageOf(solution);
      if (config.rule === "valueDifference") {
        if (!solution.inGroup || Number.isNaN(solution.outcome)) return 0;
        return value(group, solution.steps.slice(0, step + 1)) - value(group, solution.steps.slice(0, step));
      }
      const credit = contrastOf(solutions, l, step, token, advantageOf, config);
      return config.rule === "positiveOnly" && credit < 0 ? 0 : credit;
    }),
  );

  return (node, token) => {
    const steps: string[] = [];
    for (let at = node; at > 0; at = tree.steps[at].parent) steps.unshift(tree.steps[at].tokens.join(" "));
    const before = steps.slice(0, -1).join(" ").split(" ").filter(Boolean).length;
    const sums = { positive: 0, negative: 0, contributions: 0 };
    solutions.forEach((solution, l) => {
      if (node === 0 || !startsWith(solution.steps, steps)) return;
      const credit = credits[l][before + token];
      // What rounding leaves of a difference of equal means is no credit.
      if (Math.abs(credit) < 1e-15) return;
      sums[credit > 0 ? "positive" : "negative"] += credit;
      sums.contributions++;
    });
    return sums;
  };
}

function contrastOf(
  solutions: readonly Solution[],
  l: number,
  step: number,
  token: number,
  advantageOf: (solution: Solution) => number,
  { weight = 1, penaltyWeight = 1, withoutReference }: SuperviseConfig,
): number {
  const solution = solutions[l];
  const passed = (other: Solution): boolean => other.outcome > 0.5;
  if (!solution.inGroup) {
    return passed(solution) && step >= common(solution.steps, solutions[solution.corrects].steps) ? weight : 0;
  }
  if (Number.isNaN(solution.outcome)) return 0;
  if (passed(solution)) return advantageOf(solution);
  const references = solutions
    .filter((other) => passed(other) && other.steps.join("|") !== solution.steps.join("|"))
    .toSorted(
      (a, b) =>
        common(b.steps, solution.steps) - common(a.steps, solution.steps) ||
        insideStep(b.steps, solution.steps) - insideStep(a.steps, solution.steps) ||
        Number(b.corrects === l) - Number(a.corrects === l),
    );
  if (references.length === 0) return withoutReference === "outcome" ? advantageOf(solution) : 0;
  if (step !== common(references[0].steps, solution.steps)) return 0;
  const own = solution.steps[step].split(" ");
  const other = (references[0].steps[step] ?? "").split(" ").filter(Boolean);
  const endsEarly = other.length > own.length && token === own.length - 1 && common(own, other) === own.length;
  if (own[token] === other[token] && !endsEarly) return 0;
  const groupPassed = solutions.some((one) => one.inGroup && passed(one));
  return -weight * penaltyWeight * (groupPassed ? Math.abs(advantageOf(solution)) : 1);
}

function locate(steps: readonly string[], n: number): [step: number, token: number] {
  let left = n;
  for (let step = 0; ; step++) {
    const length = steps[step].split(" ").length;
    if (left < length) return [step, left];
    left -= length;
  }
}

function common(a: readonly string[], b: readonly string[]): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}

function insideStep(a: readonly string[], b: readonly string[]): number {
  const step = common(a, b);
  return step < a.length && step < b.length ? common(a[step].split(" "), b[step].split(" ")) : 0;
}

function startsWith(steps: readonly string[], prefix: readonly string[]): boolean {
  return common(steps, prefix) === prefix.length;
}

function value(group: readonly Solution[], prefix: readonly string[]): number {
  const through = group.filter((one) => startsWith(one.steps, prefix) && !Number.isNaN(one.outcome));
  return through.reduce((sum, one) => sum + one.outcome, 0) / through.length;
}
