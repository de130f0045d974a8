import type { SampleArguments } from "../../../src/ops/ops.ts";
import { randomArrays } from "../arrays.ts";
import type { OpCase } from "./op-case.ts";

type SampleOptions = Partial<Omit<SampleArguments, "logits">>;

export function sampleArguments(R: number, V: number, options: SampleOptions = {}, spread = 3): SampleArguments {
  const draw = randomArrays(R * 7 + V);
  return {
    logits: draw.normals(R * V, spread),
    seed: 12345,
    streams: Int32Array.from({ length: R }, (_, r) => r * 3 - 5),
    positions: Int32Array.from({ length: R }, (_, r) => r % 11),
    ...options,
  };
}

export const sampleSupports: readonly (readonly [string, SampleOptions])[] = [
  ["the full distribution", {}],
  ["temperature 0.5", { temperature: 0.5 }],
  ["temperature 2", { temperature: 2 }],
  ["greedy", { temperature: 0 }],
  ["top 1", { topK: 1 }],
  ["top 5", { topK: 5 }],
  ["more than the vocabulary", { topK: 1_000_000 }],
  ["top p 0.9", { topP: 0.9 }],
  ["top p 0.3", { topP: 0.3 }],
  ["a tiny top p", { topP: 1e-6 }],
  ["min p 0.1", { minP: 0.1 }],
  ["top 20, top p 0.8, min p 0.02, temperature 1.3", { topK: 20, topP: 0.8, minP: 0.02, temperature: 1.3 }],
];

export function sampleCases(): OpCase[] {
  const masked = sampleArguments(16, 30);
  masked.logits.forEach((_, i) => i % 30 > 3 && (masked.logits[i] = -Infinity));
  const ties = sampleArguments(40, 12, { topK: 3 });
  ties.logits.fill(0.5);
  return [
    ...sampleSupports.map(([name, options]) => sampleCase(name, sampleArguments(48, 100, options))),
    ...[1, 2, 7, 8, 9, 31, 33, 2049].map((V) => sampleCase(`V = ${V}`, sampleArguments(12, V))),
    ...[1, 9, 33, 2049].map((V) =>
      sampleCase(`V = ${V}, cut`, sampleArguments(12, V, { topK: 7, topP: 0.95, minP: 0.001 })),
    ),
    ...nucleusCases(),
    sampleCase("R = 0", sampleArguments(0, 5)),
    sampleCase("a large vocabulary", sampleArguments(4, 40000, {}, 1)),
    sampleCase("a seed above 2³²", sampleArguments(48, 100, { seed: 2 ** 53 - 1 })),
    sampleCase("masked vocabulary", masked),
    sampleCase("masked vocabulary, cut", { ...masked, topK: 10, topP: 0.99 }),
    sampleCase("ties go to the lower id", ties),
    sampleCase("greedy ties", { ...ties, temperature: 0 }),
    sampleCase("logits of ±1e4", { ...ties, logits: ties.logits.map((_, i) => (i % 5 === 1 ? 1e4 : -1e4)) }),
  ];
}

/** Rows on which closing in on the end of the nucleus is easy, hard and impossible. */
function nucleusCases(): OpCase[] {
  const V = 5000;
  const wide = (options: SampleOptions, spread?: number) => sampleArguments(6, V, options, spread);
  const integers = wide({ topP: 0.7 });
  integers.logits.forEach((x, i) => (integers.logits[i] = Math.round(x)));
  const equal = wide({ topP: 0.3 });
  equal.logits.fill(-2);
  const masked = wide({ topP: 0.9 });
  masked.logits.forEach((_, i) => i % 7 > 1 && (masked.logits[i] = -Infinity));
  return [
    ...[0.05, 0.5, 0.95, 0.999999].map((topP) => sampleCase(`a nucleus of ${topP}`, wide({ topP }))),
    sampleCase("a nucleus of a flat distribution", wide({ topP: 0.9 }, 1e-3)),
    sampleCase("a nucleus at temperature 0.01", wide({ topP: 0.9, temperature: 0.01 })),
    sampleCase("a nucleus at temperature 50", wide({ topP: 0.9, temperature: 50 })),
    sampleCase("a nucleus with many ties", integers),
    sampleCase("a nucleus of ties alone", equal),
    sampleCase("a nucleus of masked vocabulary", masked),
    sampleCase("a nucleus and min p", wide({ topP: 0.99, minP: 0.05 })),
    sampleCase("min p of a wide row", wide({ minP: 1e-4 })),
  ];
}

function sampleCase(name: string, args: SampleArguments): OpCase {
  const R = args.streams.length;
  return {
    op: "sample",
    name,
    run: (ops, make) => {
      const tokens = new Int32Array(R).fill(-7);
      const out = { tokens, logprobs: make.filled(R), supportLogprobs: make.filled(R) };
      ops.sample({ ...args, ...out });
      return out;
    },
  };
}
