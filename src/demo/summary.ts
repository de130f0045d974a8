/** The demo's figures, from its runs: the JSON of the contract, and a table. */

import { alignRows, mean, sampledAt, spread, thousands, tokensToReach } from "../run/curves.ts";
import {
  methodConfig,
  methodNames,
  type CurvePoint,
  type DemoResult,
  type MethodName,
  type RecipeName,
  type Run,
} from "./demo.ts";

export interface MethodResult {
  readonly settings: Readonly<Record<string, unknown>>;
  /** per seed, held-out, 0 … 1 */
  readonly greedy: readonly number[];
  readonly sampled: readonly number[];
  readonly tokens: readonly number[];
  readonly updates: readonly number[];
  /** shares of the failed rollouts, and of those with a reference */
  readonly identify?: { readonly withReference: number; readonly agreement: number };
  /** verified by their outcome; accepted: of these, believed */
  readonly repair?: { readonly tried: number; readonly verified: number; readonly accepted: number };
  /** per seed: `[tokens, greedy, sampled]` */
  readonly curves: readonly (readonly CurvePoint[])[];
  readonly seconds: readonly number[];
}

export interface DemoJson {
  readonly task: string;
  readonly policy: { readonly parameters: number };
  readonly budgetTokens: number;
  readonly seeds: readonly number[];
  readonly warmStart: { readonly greedy: number; readonly sampled: number; readonly falseSuccess: number };
  readonly methods: Readonly<Record<MethodName, MethodResult>>;
  readonly seconds: number;
}

export function toJson(result: DemoResult): DemoJson {
  return {
    task: result.task,
    policy: { parameters: result.parameters },
    budgetTokens: result.config.budgetTokens,
    seeds: result.config.seeds,
    warmStart: result.warmStart,
    methods: {
      outcome: methodResult("outcome", result),
      positiveOnly: methodResult("positiveOnly", result),
      iop: methodResult("iop", result),
    },
    seconds: result.seconds,
  };
}

function methodResult(method: MethodName, result: DemoResult): MethodResult {
  const runs = result.runs.filter((run) => run.method === method);
  const sum = (of: (run: Run) => number): number => runs.reduce((total, run) => total + of(run), 0);
  const last = runs.map(({ curve }) => curve[curve.length - 1]);
  const tried = sum((run) => run.repairsTried);
  return {
    settings: methodConfig(method, result.config.seeds[0], result.config),
    greedy: last.map(([, greedy]) => greedy),
    sampled: last.map(([, , sampled]) => sampled),
    tokens: runs.map((run) => run.tokens),
    updates: runs.map((run) => run.updates),
    ...(method !== "outcome" && {
      identify: {
        withReference:
          sum((run) => run.withReference) /
          Math.max(
            1,
            sum((run) => run.failed),
          ),
        agreement:
          sum((run) => run.agreed) /
          Math.max(
            1,
            sum((run) => run.judged),
          ),
      },
    }),
    ...(tried > 0 && {
      repair: {
        tried,
        verified: sum((run) => run.repairsVerified),
        accepted: sum((run) => run.repairsAccepted),
      },
    }),
    curves: runs.map(({ curve }) => curve),
    seconds: runs.map((run) => run.seconds),
  };
}

const share = (value: number): string => value.toFixed(3);

/** Rows of the closing table: a heading and one cell per method. */
export function tableRows(json: DemoJson): { readonly heading: string; readonly cells: readonly string[] }[] {
  const row = (heading: string, cell: (method: MethodResult, name: MethodName) => string) => ({
    heading,
    cells: methodNames.map((name) => cell(json.methods[name], name)),
  });
  const marks = [0.25, 0.5].map((part) => part * json.budgetTokens);
  const reach = (target: MethodName) =>
    row(`tokens to reach ${target}'s final`, (method, name) => {
      if (name === target) return "–";
      const tokens = tokensToReach(method.curves, mean(json.methods[target].sampled));
      return tokens === undefined ? "not reached" : thousands(tokens);
    });
  return [
    ...marks.map((tokens) =>
      row(`sampled accuracy at ${thousands(tokens)}`, (method) =>
        spread(method.curves.map((curve) => sampledAt(curve, tokens))),
      ),
    ),
    row("sampled accuracy at the end", (method) => spread(method.sampled)),
    row("greedy accuracy at the end", (method) => spread(method.greedy)),
    reach("outcome"),
    reach("iop"),
    row("generated tokens", (method) => thousands(mean(method.tokens))),
    row("optimizer steps", (method) => mean(method.updates).toFixed(0)),
    row("seconds of training", (method) => mean(method.seconds).toFixed(1)),
    row("failed with a reference", (method) => (method.identify ? share(method.identify.withReference) : "–")),
    row("first error placed right", (method) => (method.identify ? share(method.identify.agreement) : "–")),
    row("repairs accepted / asked", ({ repair }) =>
      repair ? `${repair.accepted} / ${repair.tried} (${share(repair.accepted / repair.tried)})` : "–",
    ),
  ];
}

/** What the policy's warm start knew of repairs, for whoever reads the figures. */
export const learnedFrom: Readonly<Record<RecipeName, string>> = {
  hindsight: "It has learned repairs from unverified attempts alone; a repair is asked for with the known answer.",
  verified: "It has seen repair pairs chosen by outcome: information beyond the rewards.",
};

export function table(json: DemoJson): string {
  return alignRows([{ heading: "", cells: methodNames }, ...tableRows(json)]);
}
