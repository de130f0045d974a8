/** Parity with a real pretrained model, from public files that are not part of the project: skipped by name without them. */

import { cpSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { packSequences } from "../../src/batch.ts";
import { openOps } from "../../src/ops/native.ts";
import { TransformerPolicy } from "../../src/policies/transformer.ts";
import { onHost } from "../../src/ops/storage.ts";
import { repository } from "../support/imports.ts";
import { install, node, type Installed } from "../support/installed.ts";

const files = process.env["STEPCREDIT_STORIES"] ?? join(repository, "..", "shared", "data", "tiny_llama");
const present = existsSync(join(files, "stories260K.bin"));

interface Reference {
  readonly encode: readonly { readonly text: string; readonly bos: boolean; readonly tokens: readonly number[] }[];
  readonly greedy: {
    readonly tokens: readonly number[];
    readonly logprobs: readonly number[];
    readonly logits_first20_positions: readonly (readonly number[])[];
  };
  readonly teacher_forced: { readonly tokens: readonly number[]; readonly logprobs_of_next: readonly number[] };
}

const worst = (actual: ArrayLike<number>, expected: readonly number[]): number =>
  Math.max(...expected.map((value, i) => Math.abs(value - actual[i])));

describe.skipIf(!present)("stories260K, converted by examples/convert-llama2c.mjs (skipped without its files)", () => {
  let installed: Installed;
  let policy: TransformerPolicy;
  let reference: Reference;
  let directory = "";
  beforeAll(async () => {
    installed = install();
    installed.linkAddon();
    directory = join(installed.root, "stories");
    const script = join(installed.root, "examples", "convert-llama2c.mjs");
    cpSync(join(repository, "examples"), join(installed.root, "examples"), { recursive: true });
    const { status, stderr } = node([script, join(files, "stories260K.bin"), join(files, "tok512.bin"), directory]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    policy = await TransformerPolicy.load(directory, { ops: openOps("cpu", { blas: false }) });
    reference = JSON.parse(readFileSync(join(files, "reference_outputs.json"), "utf8")) as Reference;
  });
  afterAll(() => installed.remove());

  it("gives its encodings, and the texts back", () => {
    for (const { text, bos, tokens } of reference.encode) {
      expect(policy.tokenizer?.encode(text, bos)).toEqual(tokens);
      expect(policy.tokenizer?.decode(tokens)).toBe(text);
    }
  });

  it("writes its 200 greedy tokens with its log-probs", async () => {
    const { tokens, logprobs } = reference.greedy;
    const [written] = await policy.generate([tokens.slice(0, 1)], { maxTokens: 199, temperature: 0, stop: [] });
    expect(written.tokens).toEqual(tokens.slice(1));
    expect(worst(written.logprobs, logprobs)).toBeLessThan(2e-5);
  });

  it("gives its logits at the first 20 positions", () => {
    const { tokens, logits_first20_positions: logits } = reference.greedy;
    const { logits: actual } = policy.forward(packSequences([tokens.slice(0, 20)]));
    expect(worst(onHost(actual), logits.flat())).toBeLessThan(1e-4);
  });

  it("gives the log-probs of a text", () => {
    const { tokens, logprobs_of_next: logprobs } = reference.teacher_forced;
    expect(worst(policy.logprobs(packSequences([tokens])), logprobs)).toBeLessThan(2e-5);
  });

  it(
    "learns stories with a bird by examples/train-stories.mjs, in two ways from one start",
    { timeout: 300_000 },
    () => {
      const [script, json] = [
        join(installed.root, "examples", "train-stories.mjs"),
        join(installed.root, "stories.json"),
      ];
      const { status, stderr } = node([
        script,
        directory,
        "--seeds",
        "1",
        "--budget",
        "13000",
        "--draws",
        "1",
        "--json",
        json,
      ]);
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      const { before, runs } = JSON.parse(readFileSync(json, "utf8")) as {
        readonly before: { readonly accuracy: number };
        readonly runs: readonly { readonly method: string; readonly curve: readonly (readonly number[])[] }[];
      };
      expect(runs.map(({ method }) => method)).toEqual(["outcome", "iop"]);
      for (const { curve } of runs) {
        expect(curve[0]).toEqual([0, before.accuracy]);
        expect(curve.at(-1)?.[0]).toBeLessThanOrEqual(13_000);
      }
    },
  );
});
