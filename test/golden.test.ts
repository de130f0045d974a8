import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { readVector, runGolden } from "../src/golden/index.ts";
import { reference } from "../src/ops/reference.ts";

const dir = new URL("./golden/", import.meta.url);
describe("x", () => {
  it("y", () => {
    const out: unknown[] = [];
    for (const f of readdirSync(dir)) {
      const v = readVector(JSON.parse(readFileSync(new URL(f, dir), "utf8")));
      const r = runGolden(v, reference());
      if (r.status !== "passed" || r.metricsNotCompared.length) out.push([f, r]);
    }
    console.log(JSON.stringify(out, null, 1));
    expect(out.length).toBe(0);
  });
});
