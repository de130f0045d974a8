/** Agreement of computed results with the expected ones: |got − want| ≤ atol + rtol · |want|, non-finite numbers exactly. */
import {
  flatten,
  isRecord,
  toNumber,
  type Computed,
  type GoldenVector,
  type Json,
  type Precision,
  type Tolerance,
} from "./vector.ts";

export interface GoldenFailure {
  /** the name in `expected`, with the indices of the worst entry of an array */
  readonly key: string;
  readonly got: number | string;
  readonly want: number | string;
}

export interface Comparison {
  readonly failures: readonly GoldenFailure[];
  /** metrics of the vector for which nothing was computed */
  readonly metricsNotCompared: readonly string[];
}

/** What a peer returned where it is held to be wrong, and statistics that inform only. */
const kNotCompared: ReadonlySet<string> = new Set(["peer_observed", "crosscheck", "peer_metrics"]);

/** Compares every key of `expected`; a key for which nothing was computed is a failure, a metric is listed. */
export function compare(vector: GoldenVector, computed: Computed, precision: Precision): Comparison {
  const tolerance = vector.tolerance[precision];
  const failures: GoldenFailure[] = [];
  const metricsNotCompared: string[] = [];
  for (const [key, want] of Object.entries(vector.expected)) {
    if (kNotCompared.has(key)) continue;
    if (key === "metrics" && isRecord(want)) {
      for (const [name, value] of Object.entries(want)) {
        const got = computed.metrics?.[name];
        if (got === undefined) metricsNotCompared.push(name);
        else failures.push(...compareScalar(`metrics.${name}`, got, toNumber(value, name), tolerance));
      }
      continue;
    }
    const got = computed.values[key];
    if (got === undefined) failures.push({ key, got: "not computed", want: "a value" });
    else if (typeof got === "number") failures.push(...compareScalar(key, got, toNumber(want, key), tolerance));
    else failures.push(...compareArray(key, got, want, tolerance, computed.compared?.[key]));
  }
  return { failures, metricsNotCompared };
}

function compareScalar(key: string, got: number, want: number, tolerance: Tolerance): GoldenFailure[] {
  return excess(got, want, tolerance) > 0 ? [{ key, got, want }] : [];
}

function compareArray(
  key: string,
  got: ArrayLike<number>,
  want: Json,
  tolerance: Tolerance,
  compared: ArrayLike<number> | undefined,
): GoldenFailure[] {
  const expected = flatten(want, key);
  if (got.length !== expected.length) {
    return [{ key, got: `${got.length} numbers`, want: `${expected.length} numbers` }];
  }
  let worst = -1;
  let worstExcess = 0;
  expected.forEach((value, index) => {
    if (compared?.[index] === 0) return;
    const beyond = excess(got[index], value, tolerance);
    if (beyond > worstExcess) [worst, worstExcess] = [index, beyond];
  });
  return worst < 0 ? [] : [{ key: `${key}${place(want, worst)}`, got: got[worst], want: expected[worst] }];
}

/** How far a value lies outside its tolerance; 0 where it passes, ∞ where a non-finite number does not match. */
function excess(got: number, want: number, tolerance: Tolerance): number {
  if (Object.is(got, want) || got === want) return 0;
  if (!Number.isFinite(got) || !Number.isFinite(want)) return Infinity;
  const beyond = Math.abs(got - want) - (tolerance.atol + tolerance.rtol * Math.abs(want));
  return beyond > 0 ? beyond : 0;
}

/** The indices, as `[1][2]`, of the entry with this row-major number. */
function place(nested: Json, index: number): string {
  if (!Array.isArray(nested)) return "";
  let remaining = index;
  for (const [i, entry] of nested.entries()) {
    const size = flatten(entry as Json, "").length;
    if (remaining < size) return `[${i}]${place(entry as Json, remaining)}`;
    remaining -= size;
  }
  return "";
}
