import { describe, expect, it } from "vitest";
import { benchRecord, disagreement, quantile, summarise, type Measurement } from "./support/timing.ts";

describe("quantile", () => {
  it("is read between the two nearest samples, in whatever order they came", () => {
    expect(quantile([40, 10, 30, 20], 0.5)).toBe(25);
    expect(quantile([5, 1, 4, 2, 3, 6], 0.2)).toBe(2);
    expect(quantile([9, 7], 0)).toBe(7);
    expect(quantile([9, 7], 1)).toBe(9);
  });

  it("of one sample is that sample, and of none an error", () => {
    expect(quantile([3], 0.8)).toBe(3);
    expect(() => quantile([], 0.5)).toThrow("expected samples, received none");
  });

  it("leaves the samples as they are", () => {
    const samples = [3, 1, 2];
    summarise(samples);
    expect(samples).toEqual([3, 1, 2]);
  });

  it("summarises by the middle and the 20th and 80th percentile", () => {
    const samples = [10, 0, 1, 9, 2, 8, 3, 7, 4, 6, 5];
    expect(summarise(samples)).toEqual({ medianMs: 5, p20Ms: 2, p80Ms: 8 });
  });
});

const measurement: Measurement = {
  op: "logprobs",
  shape: "[2, 3]",
  dtype: "f32",
  device: "cpu",
  threads: 2,
  bytes: 24,
  flops: 0,
  samples: [4, 2, 6],
  floorSamples: [1, 3],
  peerSamples: { plainJs: [20], torch: [30, 34] },
  env: {
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
  },
};

describe("a record of a bench", () => {
  it("has the fields that scripts rely on, and no other", () => {
    expect(Object.keys(benchRecord(measurement)).sort()).toEqual(
      "bytes device dtype env floorMs flops medianMs op p20Ms p80Ms peers ratioToFloor shape threads".split(" "),
    );
  });

  it("says how many floors an op takes, and how many ops fit into a peer's time", () => {
    const { medianMs, floorMs, ratioToFloor, peers } = benchRecord(measurement);
    expect({ medianMs, floorMs, ratioToFloor }).toEqual({ medianMs: 4, floorMs: 2, ratioToFloor: 2 });
    expect(peers).toEqual({ plainJs: { medianMs: 20, ratio: 5 }, torch: { medianMs: 32, ratio: 8 } });
  });

  it("scales a floor that was measured on other work", () => {
    expect(benchRecord({ ...measurement, floorFactor: 0.5 })).toMatchObject({ floorMs: 1, ratioToFloor: 4 });
  });

  it("has null in place of a floor that cannot be measured", () => {
    expect(benchRecord({ ...measurement, floorSamples: null })).toMatchObject({ floorMs: null, ratioToFloor: null });
  });

  it("survives JSON", () => {
    const record = benchRecord({ ...measurement, floorSamples: null });
    expect(JSON.parse(JSON.stringify(record))).toEqual(record);
  });
});

describe("the check before a bench", () => {
  const truth = Float64Array.of(1, -2, 0.5);

  it("lets a kernel be twice as wrong as plain code", () => {
    const plain = Float64Array.of(1, -2.001, 0.5);
    expect(disagreement(Float32Array.of(1.0019, -2, 0.5), truth, plain)).toBeUndefined();
    expect(disagreement(Float32Array.of(1.0021, -2, 0.5), truth, plain)).toMatch(/^element 0 is 1.00/);
  });

  it("refuses what is neither close nor a number", () => {
    expect(disagreement(Float32Array.of(1, 2, 0.5), truth, truth)).toMatch(/^element 1 is 2, expected -2/);
    expect(disagreement(Float32Array.of(1, -2, NaN), truth, truth)).toMatch(/^element 2 is NaN/);
    expect(disagreement(Float32Array.of(1, -2), truth, truth)).toBe("2 elements, expected 3");
  });

  it("wants integers equal", () => {
    const plain = Int32Array.of(7, 9);
    expect(disagreement(Int32Array.of(7, 8), Int32Array.of(7, 8), plain)).toBeUndefined();
    expect(disagreement(Int32Array.of(7, 9), Int32Array.of(7, 8), plain)).toMatch(/^element 1 is 9, expected 8/);
  });
});
