import type { Ops } from "../../src/ops/ops.ts";
import { reference } from "../../src/ops/reference.ts";
import { randomArrays } from "./arrays.ts";
import { decodeInputs, forests, subtreeEnds } from "./cases/attention.ts";
import { headRows } from "./cases/linear-logprobs.ts";
import { lossArguments } from "./cases/loss.ts";
import { familyArguments, lossForms, valueArguments, type LossForm } from "./cases/loss-family.ts";
import type { Outcome } from "./cases/op-case.ts";
import { offsetsOf } from "./cases/op-case.ts";
import { sampleArguments } from "./cases/sample.ts";

/** An op whose rows know nothing of each other: what it gives for rows `first … last`, and how that lies in the whole. */
export interface RowLaw {
  readonly op: string;
  readonly rows: number;
  run(ops: Ops, first: number, last: number): Outcome;
  slice(whole: Outcome, first: number, last: number): Outcome;
}

type Width = (row: number) => number;

/** Rows of equal width per output, or of the given offsets. */
function law(
  op: string,
  rows: number,
  widths: Readonly<Record<string, number | Int32Array>>,
  run: (ops: Ops, first: number, last: number) => Outcome,
): RowLaw {
  const begin = (output: string): Width => {
    const width = widths[output];
    return (row) => (typeof width === "number" ? row * width : width[row]);
  };
  const cut = (whole: Outcome, first: number, last: number) =>
    Object.entries(whole).map(
      ([output, values]) => [output, values.slice(begin(output)(first), begin(output)(last))] as const,
    );
  return { op, rows, run, slice: (whole, first, last) => Object.fromEntries(cut(whole, first, last)) };
}

const out = (length: number) => new Float32Array(length);

export const rowLaws: readonly RowLaw[] = [
  ...[33, 5000].flatMap(logitsLaws),
  ...headLaws(),
  lossLaw(),
  ...lossForms.map(formLaw),
  valueLaw(),
  sequenceLaw(),
  sampleLaw(),
  ...linearLaws(),
  ...rmsNormLaws(),
  ropeLaw(),
  ...forestLaws(),
  decodeLaw(),
];

function logitsLaws(V: number): RowLaw[] {
  const T = 40;
  const draw = randomArrays(V);
  const offsets = offsetsOf(Array.from({ length: T }, (_, t) => t % 4));
  const N = offsets[T];
  const logits = draw.normals(T * V, 3);
  const targets = draw.integers(N, V);
  const temperatures = Float32Array.from({ length: T }, () => 0.5 + draw.uniform());
  const [dlogprobs, dentropy] = [draw.normals(N), draw.normals(T)];
  const saved = reference().logprobs({
    logits,
    targetOffsets: offsets,
    targets,
    temperature: temperatures,
    entropy: true,
  });
  const [lse, entropy] = [Float32Array.from(saved.lse), Float32Array.from(saved.entropy!)];
  const loss = lossArguments(N);
  const part = (first: number, last: number) => ({
    logits: logits.subarray(first * V, last * V),
    targetOffsets: offsets.slice(first, last + 1).map((offset) => offset - offsets[first]),
    targets: targets.subarray(offsets[first], offsets[last]),
    temperature: temperatures.subarray(first, last),
  });
  return [
    law(`logprobs, V = ${V}`, T, { lse: 1, logprobs: offsets, entropy: 1, sumSquares: 1 }, (ops, first, last) => ({
      ...ops.logprobs({ ...part(first, last), entropy: true, sumSquares: true }),
    })),
    law(`logprobsBackward, V = ${V}`, T, { dlogits: V }, (ops, first, last) => ({
      dlogits: ops.logprobsBackward({
        ...part(first, last),
        lse: lse.subarray(first, last),
        entropy: entropy.subarray(first, last),
        dlogprobs: dlogprobs.subarray(offsets[first], offsets[last]),
        dentropy: dentropy.subarray(first, last),
      }),
    })),
    law(
      `policyUpdate.clip, V = ${V}`,
      T,
      { logprobs: offsets, lse: 1, dlogprobs: offsets, dlogits: V, entropy: 1 },
      (ops, first, last) => {
        const args = { ...part(first, last), ...targetsOf(loss, offsets[first], offsets[last]) };
        const { metrics: _sums, ...rows } = ops.policyUpdate.clip({
          ...args,
          entropyWeights: dentropy.subarray(first, last),
          entropy: true,
        });
        const { logprobs, lse, dlogprobs, dlogits, entropy } = rows;
        return { logprobs, lse, dlogprobs, dlogits, entropy: entropy! };
      },
    ),
  ];
}

function headLaws(): RowLaw[] {
  const T = 20;
  return [
    [70, 33],
    [5, 4200],
  ].flatMap(([H, V]) => {
    const counts = Array.from({ length: T }, (_, t) => t % 4);
    const head = headRows("laws", [H, V], { counts, bias: (bias) => bias.fill(-Infinity, 0, 3), softcap: 20 });
    const { hidden, targetOffsets: offsets, targets, ...shared } = head;
    const draw = randomArrays(H);
    const [dlogprobs, dentropy] = [draw.normals(offsets[T]), draw.normals(T)];
    const saved = reference().linearLogprobs({ ...head, entropy: true });
    const [lse, logprobs, entropy] = [saved.lse, saved.logprobs, saved.entropy!].map((all) => Float32Array.from(all));
    const part = (first: number, last: number) => ({
      ...shared,
      hidden: hidden.subarray(first * H, last * H),
      targetOffsets: offsets.slice(first, last + 1).map((offset) => offset - offsets[first]),
      targets: targets.subarray(offsets[first], offsets[last]),
    });
    return [
      law(`linearLogprobs, V = ${V}`, T, { lse: 1, logprobs: offsets, entropy: 1 }, (ops, first, last) => ({
        ...ops.linearLogprobs({ ...part(first, last), entropy: true }),
      })),
      law(`linearLogprobsBackward, V = ${V}`, T, { dhidden: H }, (ops, first, last) => {
        const dhidden = out((last - first) * H);
        ops.linearLogprobsBackward({
          ...part(first, last),
          lse: lse.subarray(first, last),
          logprobs: logprobs.subarray(offsets[first], offsets[last]),
          entropy: entropy.subarray(first, last),
          dlogprobs: dlogprobs.subarray(offsets[first], offsets[last]),
          dentropy: dentropy.subarray(first, last),
          dhidden,
        });
        return { dhidden };
      }),
    ];
  });
}

function targetsOf(loss: ReturnType<typeof lossArguments>, first: number, last: number) {
  return {
    epsLow: loss.epsLow,
    epsHigh: loss.epsHigh,
    kl: { estimator: "k3", coefficient: 0.1, timesRatio: true } as const,
    oldLogprobs: loss.oldLogprobs.subarray(first, last),
    refLogprobs: loss.refLogprobs.subarray(first, last),
    multipliers: loss.multipliers.subarray(first, last),
    weights: loss.weights.subarray(first, last),
    advantages: loss.advantages.subarray(2 * first, 2 * last),
  };
}

function lossLaw(): RowLaw {
  const N = 101;
  const loss = lossArguments(N);
  return law("policyLoss.clip", N, { dlogprobs: 1, ratios: 1 }, (ops, first, last) => {
    const ratios = out(last - first);
    const logprobs = loss.logprobs.subarray(first, last);
    const { dlogprobs } = ops.policyLoss.clip({ ...targetsOf(loss, first, last), logprobs, ratios });
    return { dlogprobs, ratios };
  });
}

/** A row is a target, or a sequence where the form has ratios of sequences. */
function formLaw(form: LossForm): RowLaw {
  const loss = familyArguments(101);
  const offsets = form.perSequence ? loss.sequenceOffsets : Int32Array.from({ length: 102 }, (_, n) => n);
  const rows = offsets.length - 1;
  return law(
    `policyLoss.${form.op}, ${form.name}`,
    rows,
    { dlogprobs: offsets, ratios: offsets },
    (ops, first, last) => {
      const [begin, end] = [offsets[first], offsets[last]];
      const ratios = out(end - begin);
      const { dlogprobs } = form.run(ops, {
        ...targetsOf(loss, begin, end),
        logprobs: loss.logprobs.subarray(begin, end),
        sequenceOffsets: offsets.slice(first, last + 1).map((offset) => offset - begin),
        ratios,
      });
      return { dlogprobs, ratios };
    },
  );
}

function valueLaw(): RowLaw {
  const args = valueArguments(33);
  return law("valueLoss", 33, { dvalues: 1 }, (ops, first, last) => {
    const { dvalues } = ops.valueLoss({
      values: args.values.subarray(first, last),
      oldValues: args.oldValues.subarray(first, last),
      returns: args.returns.subarray(first, last),
      weights: args.weights.subarray(first, last),
      clip: 0.2,
    });
    return { dvalues };
  });
}

function sequenceLaw(): RowLaw {
  const offsets = offsetsOf([5, 0, 1, 17, 3, 40]);
  const loss = lossArguments(offsets[6]);
  return law("policyLoss.sequenceClip", 6, { dlogprobs: offsets, ratios: offsets }, (ops, first, last) => {
    const [begin, end] = [offsets[first], offsets[last]];
    const ratios = out(end - begin);
    const { dlogprobs } = ops.policyLoss.sequenceClip({
      ...targetsOf(loss, begin, end),
      logprobs: loss.logprobs.subarray(begin, end),
      sequenceOffsets: offsets.slice(first, last + 1).map((offset) => offset - begin),
      ratios,
    });
    return { dlogprobs, ratios };
  });
}

function sampleLaw(): RowLaw {
  const [R, V] = [24, 1000];
  const args = sampleArguments(R, V, { topK: 200, topP: 0.9, temperature: 0.8 });
  return law("sample", R, { tokens: 1, logprobs: 1, supportLogprobs: 1 }, (ops, first, last) => {
    const { tokens, logprobs, supportLogprobs } = ops.sample({
      ...args,
      logits: args.logits.subarray(first * V, last * V),
      streams: args.streams.subarray(first, last),
      positions: args.positions.subarray(first, last),
      supportLogprobs: true,
    });
    return { tokens, logprobs, supportLogprobs: supportLogprobs! };
  });
}

function linearLaws(): RowLaw[] {
  return [
    [33, 17, 19],
    [70, 300, 130],
  ].flatMap(([T, I, O]) => {
    const draw = randomArrays(I);
    const [x, weight, bias, dy] = [draw.normals(T * I), draw.normals(O * I), draw.normals(O), draw.normals(T * O)];
    return [
      law(`linear [${T}, ${I}] × [${O}, ${I}]`, T, { y: O }, (ops, first, last) => {
        const y = out((last - first) * O);
        ops.linear({ x: x.subarray(first * I, last * I), weight, bias, y, rows: last - first });
        return { y };
      }),
      law(`linearBackward [${T}, ${I}] × [${O}, ${I}]`, T, { dx: I }, (ops, first, last) => {
        const dx = out((last - first) * I);
        const rows = { x: x.subarray(first * I, last * I), dy: dy.subarray(first * O, last * O) };
        ops.linearBackward({ ...rows, weight, rows: last - first, dx });
        return { dx };
      }),
    ];
  });
}

function rmsNormLaws(): RowLaw[] {
  const [T, H] = [21, 70];
  const draw = randomArrays(H);
  const [x, dy, weight] = [draw.normals(T * H), draw.normals(T * H), draw.normals(H)];
  const rrmsAll = draw.normals(T).map(Math.abs);
  return [
    law("rmsNorm", T, { y: H, rrms: 1 }, (ops, first, last) => {
      const [y, rrms] = [out((last - first) * H), out(last - first)];
      ops.rmsNorm({ x: x.subarray(first * H, last * H), weight, eps: 1e-5, y, rrms });
      return { y, rrms };
    }),
    law("rmsNormBackward", T, { dx: H }, (ops, first, last) => {
      const dx = out((last - first) * H);
      const rows = { x: x.subarray(first * H, last * H), dy: dy.subarray(first * H, last * H) };
      ops.rmsNormBackward({ ...rows, weight, rrms: rrmsAll.subarray(first, last), dx, dweight: out(H) });
      return { dx };
    }),
  ];
}

function ropeLaw(): RowLaw {
  const [T, heads, D, positions] = [19, 3, 20, 40];
  const draw = randomArrays(D);
  const [all, depth] = [draw.normals(T * heads * D), draw.integers(T, positions)];
  const [cosines, sines] = [draw.normals((positions * D) / 2), draw.normals((positions * D) / 2)];
  return law("rope", T, { x: heads * D }, (ops, first, last) => {
    const x = all.slice(first * heads * D, last * heads * D);
    ops.rope({ x, depth: depth.subarray(first, last), heads, cosines, sines, headSize: D });
    return { x };
  });
}

/** A row is a tree: alone or in a forest. */
function forestLaws(): RowLaw[] {
  const trees = Object.values(forests).filter((parents) => parents.lastIndexOf(-1) === 0);
  const starts = offsetsOf(trees.map((parents) => parents.length));
  const parents = trees.flatMap((tree, b) => tree.map((parent) => (parent < 0 ? -1 : parent + starts[b])));
  const T = parents.length;
  const [heads, kvHeads, D] = [4, 2, 20];
  const shape = { heads, kvHeads, headSize: D, scale: 0.2 };
  const draw = randomArrays(T);
  const [q, k, v] = [draw.normals(T * heads * D), draw.normals(T * kvHeads * D), draw.normals(T * kvHeads * D)];
  const dout = draw.normals(T * heads * D);
  const saved = { out: out(T * heads * D), lse: out(T * heads) };
  const ends = subtreeEnds(parents);
  reference().treeAttention({ ...shape, q, k, v, subtreeEnd: ends, ...saved });
  const [wide, narrow, perHead] = [heads * D, kvHeads * D, heads].map((width) => starts.map((start) => start * width));
  const part = (first: number, last: number) => {
    const rows = (array: Float32Array, width: number) => array.subarray(starts[first] * width, starts[last] * width);
    return {
      inputs: {
        ...shape,
        q: rows(q, heads * D),
        k: rows(k, kvHeads * D),
        v: rows(v, kvHeads * D),
        subtreeEnd: ends.slice(starts[first], starts[last]).map((end) => end - starts[first]),
      },
      saved: { out: rows(saved.out, heads * D), lse: rows(saved.lse, heads), dout: rows(dout, heads * D) },
      count: starts[last] - starts[first],
    };
  };
  return [
    law("treeAttention", trees.length, { out: wide, lse: perHead }, (ops, first, last) => {
      const { inputs, count } = part(first, last);
      const written = { out: out(count * heads * D), lse: out(count * heads) };
      ops.treeAttention({ ...inputs, ...written });
      return written;
    }),
    law("treeAttentionBackward", trees.length, { dq: wide, dk: narrow, dv: narrow }, (ops, first, last) => {
      const { inputs, saved: given, count } = part(first, last);
      const written = { dq: out(count * heads * D), dk: out(count * kvHeads * D), dv: out(count * kvHeads * D) };
      ops.treeAttentionBackward({ ...inputs, ...given, ...written });
      return written;
    }),
  ];
}

function decodeLaw(): RowLaw {
  const lengths = [1, 40, 7, 100, 3, 64, 2, 2, 31];
  const [heads, kvHeads, D] = [4, 2, 20];
  const inputs = decodeInputs(lengths, [heads, kvHeads, D]);
  return law("decodeAttention", lengths.length, { out: heads * D }, (ops, first, last) => {
    const written = out((last - first) * heads * D);
    const [begin, end] = [inputs.slotOffsets[first], inputs.slotOffsets[last]];
    ops.decodeAttention({
      ...inputs,
      q: inputs.q.subarray(first * heads * D, last * heads * D),
      slotOffsets: inputs.slotOffsets.slice(first, last + 1).map((offset) => offset - begin),
      slots: inputs.slots.subarray(begin, end),
      out: written,
    });
    return { out: written };
  });
}
