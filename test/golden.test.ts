import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { readVector, runGolden, type GoldenVector } from "../src/golden/index.ts";
import { describeReport, reportToJson, runGoldenDirectory } from "../src/golden/report.ts";
import { openOps } from "../src/ops/native.ts";
import { reference } from "../src/ops/reference.ts";

const directory = new URL("./golden/", import.meta.url);
const vectors = readdirSync(directory)
  .sort()
  .map((file) => readVector(JSON.parse(readFileSync(new URL(file, directory), "utf8"))));
const named = (name: string): GoldenVector => {
  const vector = vectors.find((candidate) => candidate.name === name);
  if (vector === undefined) throw new Error(`no vector ${name}`);
  return vector;
};

/** The third is plain float32 code: where it agrees and the native ops do not, the fault is a kernel's. */
const backends = [reference(), openOps("cpu"), { ...reference(Math.fround), name: "plain float32" }];

const families = new Map<string, GoldenVector[]>();
for (const vector of vectors) {
  const family = vector.op === "logprob" ? vector.op : `${vector.op} of ${vector.peer}`;
  families.set(family, [...(families.get(family) ?? []), vector]);
}

for (const ops of backends) {
  describe(`golden vectors on ${ops.name}`, () => {
    for (const [family, members] of families) {
      it(`${family}: all ${members.length} agree`, () => {
        const outcomes = members.map((vector) => ({ name: vector.name, ...runGolden(vector, ops) }));
        expect(outcomes.filter(({ status }) => status !== "passed")).toEqual([]);
        expect(outcomes.filter(({ metricsNotCompared }) => metricsNotCompared.length > 0)).toEqual([]);
      });
    }
  });
}

describe("what a golden vector guards", () => {
  it("equal rewards give advantages of exactly 0", () => {
    const strict = vectors.filter(({ name }) => name.startsWith("strict_adv_equal"));
    expect(strict.length).toBeGreaterThan(0);
    for (const vector of strict) {
      const exact = { rtol: 0, atol: 0 };
      for (const ops of backends) {
        expect(runGolden({ ...vector, tolerance: { f64: exact, f32: exact } }, ops).failures).toEqual([]);
      }
    }
  });

  it("a masked position may hold anything", () => {
    for (const vector of vectors.filter(({ op, tags }) => op === "policy_loss" && !tags.includes("peer_quirk"))) {
      const mask = vector.inputs["mask"] as number[][];
      const poison = (rows: unknown) =>
        (rows as number[][]).map((row, b) =>
          row.map((value, t) => (mask[b][t] === 0 ? ["NaN", "Infinity"][t % 2] : value)),
        );
      const poisoned = Object.fromEntries(
        Object.entries(vector.inputs).map(([name, rows]) => [
          name,
          name.endsWith("logp") || name === "entropy" ? poison(rows) : rows,
        ]),
      );
      expect(runGolden({ ...vector, inputs: poisoned }, reference()).failures).toEqual([]);
    }
  });
});

describe("a comparison", () => {
  const vector = named("pl_trl_grpo_beta0.04_seqadv");

  it("fails on every expected number that is not the computed one, and names it", () => {
    const off = (value: unknown): unknown =>
      Array.isArray(value)
        ? value.map((entry: unknown, i) => (i === 0 ? off(entry) : entry))
        : (value as number) + 1e-3;
    for (const key of ["loss", "grad_logp"]) {
      const wrong = { ...vector, expected: { ...vector.expected, [key]: off(vector.expected[key]) } } as GoldenVector;
      const { status, failures } = runGolden(wrong, reference());
      expect(status).toBe("failed");
      expect(failures.map((failure) => failure.key)).toEqual([key === "loss" ? "loss" : "grad_logp[0][0]"]);
    }
    const metrics = vector.expected["metrics"] as Record<string, number>;
    for (const name of Object.keys(metrics)) {
      const wrong = {
        ...vector,
        expected: { ...vector.expected, metrics: { ...metrics, [name]: metrics[name] + 0.01 } },
      };
      expect(runGolden(wrong, reference()).failures.map((failure) => failure.key)).toEqual([`metrics.${name}`]);
    }
  });

  it("fails where the vector expects a key that nothing computes, and lists such a metric", () => {
    const expected = { ...vector.expected, grad_old: 0, metrics: { phi_mean: 1 } };
    const outcome = runGolden({ ...vector, expected }, reference());
    expect(outcome.failures).toEqual([{ key: "grad_old", got: "not computed", want: "a value" }]);
    expect(outcome.metricsNotCompared).toEqual(["phi_mean"]);
  });

  it("matches non-finite numbers exactly", () => {
    const masked = named("logprob_target_neginf");
    const logprob = masked.expected["logprob"] as (number | string)[];
    expect(logprob[0]).toBe("-Infinity");
    const wrong = { ...masked, expected: { ...masked.expected, logprob: [-1e30, ...logprob.slice(1)] } };
    expect(runGolden(wrong, reference()).failures).toEqual([{ key: "logprob[0]", got: -Infinity, want: -1e30 }]);
  });

  it("leaves out what the peer is held to have got wrong", () => {
    const expected = { ...vector.expected, peer_observed: { loss: "NaN" }, crosscheck: 1, peer_metrics: {} };
    expect(runGolden({ ...vector, expected }, reference()).status).toBe("passed");
  });

  it("is not made where an op, a surrogate, an estimator or an option is unknown", () => {
    const reasons = [
      { ...vector, op: "tea_leaves" },
      { ...vector, options: { ...vector.options, surrogate: "entrails" } },
      { ...vector, options: { ...vector.options, aggregation: "median" } },
      { ...vector, options: { ...vector.options, jitter: 0.5 } },
      { ...named("adv_verl_rloo_vec"), options: { estimator: "lottery" } },
    ].map((changed) => runGolden(changed, reference()));
    expect(reasons.map(({ status }) => status)).toEqual(Array(5).fill("unsupported"));
    expect(reasons.map(({ reason }) => reason)).toEqual([
      "tea_leaves",
      "policy_loss/entrails",
      "aggregation/median",
      "policy_loss/option jitter",
      "advantage/lottery",
    ]);
  });
});

describe("a directory of vectors", () => {
  const scratch = mkdtempSync(join(tmpdir(), "golden-"));
  afterAll(() => rmSync(scratch, { recursive: true }));

  it("passes as a whole on all backends, with nothing unsupported", () => {
    const report = runGoldenDirectory(fileURLToPath(directory), backends);
    expect(describeReport(report)).toEqual([`${vectors.length} passed, 0 failed, 0 unsupported`]);
  });

  it("counts passes, failures and unsupported vectors, and names the file that is no vector", () => {
    const good = named("kl_verl_k3");
    const write = (file: string, content: unknown) =>
      writeFileSync(join(scratch, file), typeof content === "string" ? content : JSON.stringify(content));
    write("1-good.json", good);
    write("2-wrong.json", { ...good, name: "wrong", expected: { ...good.expected, kl: ["NaN"] } });
    write("3-unknown.json", { ...good, name: "unknown", op: "tea_leaves" });
    write("4-malformed.json", "{ not json");
    write("5-no-vector.json", { name: "half", op: "kl" });
    write("6-error.json", { ...good, name: "error", inputs: {} });
    write("notes.txt", "not read");
    const report = runGoldenDirectory(scratch, backends);
    expect(report).toMatchObject({ passed: 1, failed: 4, unsupported: 1 });
    expect([...report.unsupportedBy]).toEqual([["tea_leaves", 1]]);
    expect(report.failures.map(({ name, key }) => `${name} ${key}`)).toEqual([
      ...backends.map(() => "wrong kl"),
      "4-malformed.json file",
      "5-no-vector.json file",
      ...backends.map(() => "error error"),
    ]);
    expect(describeReport(report).at(-1)).toBe("1 passed, 4 failed, 1 unsupported");
    const written = JSON.parse(reportToJson(report)) as Record<string, unknown>;
    expect(Object.keys(written)).toEqual(["passed", "failed", "unsupported", "failures"]);
  });
});
