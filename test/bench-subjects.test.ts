import { describe, expect, it } from "vitest";
import { commandOf } from "../bench/environment.ts";
import { kebab } from "../bench/harness.ts";
import { logprobsModel, varint } from "../bench/peers/onnx-model.ts";
import { allSubjects } from "../bench/subjects.ts";
import { inProcess, sampleInTurns, type Contestant } from "../bench/turns.ts";
import { reference } from "../src/ops/reference.ts";

describe("the subjects of the bench", () => {
  const names = allSubjects.map(({ name }) => name);

  it("have names of their own", () => {
    expect(new Set(names).size).toBe(names.length);
  });

  it("cover every op", () => {
    const ops = Object.entries(reference()).flatMap(([name, op]): string[] => {
      if (typeof op === "object") return Object.keys(op as object).map((form) => `${name}.${form}`);
      return typeof op === "function" && name !== "allocate" ? [name] : [];
    });
    const timed = new Set(names.map((name) => name.split("/")[0]));
    expect(ops.filter((op) => !timed.has(kebab(op)))).toEqual([]);
  });
});

describe("the command in a record", () => {
  it("is what was asked for, without where the record went", () => {
    expect(commandOf([])).toBe("npm run bench");
    expect(commandOf(["--json", "a.json"])).toBe("npm run bench");
    expect(commandOf(["adamw", "--json", "a.json", "--threads", "1,2"])).toBe("npm run bench -- adamw --threads 1,2");
    expect(commandOf(["--json=a.json", "--no-peers"])).toBe("npm run bench -- --no-peers");
    expect(commandOf(["--note", "busy", "kl", "--note=b"])).toBe("npm run bench -- kl");
  });
});

describe("taking turns", () => {
  it("calls every contestant once uncounted, then in the same order round after round", async () => {
    const calls: string[] = [];
    const contestant = (name: string, ms: number): Contestant => ({
      sample({ iterations }) {
        calls.push(name);
        return new Array<number>(iterations).fill(ms);
      },
    });
    const samples = await sampleInTurns({ ours: contestant("ours", 1), peer: contestant("peer", 2) });
    expect(calls).toEqual(Array.from({ length: 6 }, () => ["ours", "peer"]).flat());
    expect(new Set(samples["ours"])).toEqual(new Set([1]));
    expect(samples["peer"]).toHaveLength(samples["ours"].length);
  });

  it("runs what is slow one call at a time", async () => {
    const asked: number[] = [];
    const slow: Contestant = { sample: ({ iterations }) => (asked.push(iterations), [1000]) };
    await sampleInTurns({ slow });
    expect(new Set(asked)).toEqual(new Set([1]));
  });

  it("lets an error of a task through", () => {
    const broken = inProcess(() => {
      throw new Error("no");
    });
    expect(() => broken.sample({ time: 0, iterations: 1, warmupIterations: 0 })).toThrow("no");
  });
});

describe("the ONNX model", () => {
  it("writes integers seven bits at a time, the lowest first", () => {
    expect(varint(1)).toEqual([1]);
    expect(varint(300)).toEqual([0b10101100, 0b10]);
    expect(varint(2 ** 32)).toEqual([128, 128, 128, 128, 16]);
    expect(() => varint(-1)).toThrow("expected an integer ≥ 0");
  });

  it("begins with the version of its format, and holds its graph whole", () => {
    const model = logprobsModel(2, 3);
    // ir_version (field 1, varint) is 8; then field 7 with the graph's length; at the end opset 13 of the default domain.
    expect([...model.subarray(0, 3)]).toEqual([0x08, 8, 0x3a]);
    const length = (model[3] & 127) + 128 * model[4];
    expect([...model.subarray(5 + length)]).toEqual([0x42, 4, 0x0a, 0, 0x10, 13]);
  });

  it("names its nodes, inputs and output", () => {
    const text = new TextDecoder("latin1").decode(logprobsModel(2, 3));
    for (const name of ["LogSoftmax", "GatherElements", "logits", "targets", "logprobs", "axis"]) {
      expect(text).toContain(name);
    }
  });
});
