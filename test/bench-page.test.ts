import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { benchmarkPage } from "../bench/page.ts";
import { dotPlot } from "../bench/plots.ts";
import { merged } from "../bench/table.ts";
import { benchRecord, type BenchRecord } from "./support/timing.ts";

const env = {
  cpu: "a processor",
  cores: 2,
  memoryGiB: 8,
  system: "Linux 6",
  isa: "cpu/generic",
  blas: null,
  node: "20",
  commit: "0000000",
  date: "2026-01-01T00:00:00.000Z",
  command: "npm run bench",
  peers: { torch: "1" },
};

function record(op: string, threads: number, floor: readonly number[] | null): BenchRecord {
  return benchRecord({
    op,
    shape: "[2, 3]",
    dtype: "f32",
    device: "cpu",
    threads,
    bytes: 8e6,
    flops: 0,
    samples: [4],
    floorSamples: floor,
    peerSamples: { torch: [10] },
    env,
  });
}

describe("the page of a record", () => {
  const records = [record("logprobs", 1, [2]), record("logprobs", 2, [8]), record("kl", 1, null)];
  const files = benchmarkPage(records, "bench/records/a.json");

  it("has a table per number of threads, with the figures of the record", () => {
    const page = files["benchmarks.md"];
    expect(page).toContain("| `logprobs` | [2, 3] | f32 | 4.00 | 4.00 – 4.00 | 2.0 |  | 2.00 | 2.00 | torch 2.50 |");
    expect(page).toContain("| `logprobs` | [2, 3] | f32 | 4.00 | 4.00 – 4.00 | 2.0 |  | 8.00 | 0.50 | torch 2.50 |");
    expect(page.indexOf("## One thread")).toBeLessThan(page.indexOf("## 2 threads"));
  });

  it("leaves the floor's cells empty where there is none", () => {
    expect(files["benchmarks.md"]).toContain(
      "| `kl` | [2, 3] | f32 | 4.00 | 4.00 – 4.00 | 2.0 |  |  |  | torch 2.50 |",
    );
  });

  it("shows every plot that it comes with, and no other", () => {
    const shown = [...files["benchmarks.md"].matchAll(/\]\((benchmarks\/[^)]*)\)/g)].map(([, name]) => name);
    expect(shown.toSorted()).toEqual(
      Object.keys(files)
        .filter((name) => name.endsWith(".svg"))
        .toSorted(),
    );
  });

  it("says on what machine, with which versions, when and how the record was made", () => {
    for (const text of [
      "a processor, 2 cores, 8 GiB",
      "Linux 6",
      "cpu/generic",
      "0000000",
      env.date,
      "npm run bench",
    ]) {
      expect(files["benchmarks.md"]).toContain(text);
    }
  });

  it("tells the rows of several runs apart", () => {
    const later = { ...env, commit: "1111111", date: "2026-02-02T00:00:00.000Z", command: "npm run bench -- kl" };
    const [first, , kl] = records;
    const page = benchmarkPage([first, { ...kl, env: later }], "a.json")["benchmarks.md"];
    const rows = page.split("\n").filter((line) => /^\| (\*\*ops\*\*|commit|command) /.test(line));
    expect(rows).toEqual([
      "| **ops** | `logprobs` |",
      "| commit | 0000000 |",
      "| command | `npm run bench` |",
      "| **ops** | `kl` |",
      "| commit | 1111111 |",
      "| command | `npm run bench -- kl` |",
    ]);
  });

  it("keeps the rows that were not timed again", () => {
    const [first, second, kl] = records;
    const newer = { ...second, medianMs: 3 };
    const added = { ...kl, dtype: "bf16" };
    expect(merged(records, [newer, added])).toEqual([first, newer, kl, added]);
  });

  it("repeats the note of a record that has one", () => {
    expect(files["benchmarks.md"]).not.toContain("| note |");
    const [first] = records;
    const noted = { ...first, env: { ...env, note: "a build ran beside it" } };
    expect(benchmarkPage([noted], "a.json")["benchmarks.md"]).toContain("| note | a build ran beside it |");
  });

  it("of no record is an error", () => {
    expect(() => benchmarkPage([], "a.json")).toThrow("expected records, received none");
  });
});

describe("a plot", () => {
  const centres = (svg: string): number[] =>
    [...svg.matchAll(/<circle cx="([\d.]+)" cy="61"/g)].map(([, x]) => Number(x));

  it("places values by their logarithm", () => {
    const marks = [1, 10, 100].map((value) => ({ value, series: "ours" }));
    const [one, ten, hundred] = centres(dotPlot("title", [{ label: "op", marks }]));
    expect(ten - one).toBeGreaterThan(0);
    expect(hundred - ten).toBeCloseTo(ten - one);
  });

  it("writes labels as text, whatever they hold", () => {
    expect(dotPlot("a < b & c", [])).toContain("a &lt; b &amp; c");
  });
});

describe("docs/benchmarks.md", () => {
  const folder = new URL("../bench/records/", import.meta.url);
  const newest = readdirSync(folder)
    .filter((name) => name.endsWith(".json"))
    .sort()
    .at(-1)!;

  it("is what the newest record says, figures and plots", () => {
    const records = JSON.parse(readFileSync(new URL(newest, folder), "utf8")) as BenchRecord[];
    for (const [name, text] of Object.entries(benchmarkPage(records, `bench/records/${newest}`))) {
      expect(readFileSync(new URL(`../docs/${name}`, import.meta.url), "utf8"), name).toBe(text);
    }
  });
});
