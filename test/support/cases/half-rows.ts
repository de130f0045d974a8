import type { Typed } from "../../../src/ops/ops.ts";
import { reference } from "../../../src/ops/reference.ts";
import { randomArrays, typed, widened, type Half } from "../arrays.ts";
import { free, headRows } from "./linear-logprobs.ts";
import type { OpCase } from "./op-case.ts";
import { float64, metricOutcome } from "./op-case.ts";
import type { Rows } from "./rows.ts";
import { awkwardRows } from "./rows.ts";
import { updateArguments } from "./update.ts";

/**
 * Units of f32 in one of a half type. A result that is rounded to one lies as close as the next one to it: two numbers that
 * agree in f32 may fall to the two sides of a tie.
 */
const ulpsOf: Readonly<Record<Half, number>> = { bf16: 2 ** 16, f16: 2 ** 13 };

/** Where all gradients are exact in a half type but for the rounding, those of p < 2.7e-38, which counts as 0, still differ. */
const vanishing = 1e-33;

const chosen =
  /^V = (1|7|33|65|2049)$|wide|confident|masked vocabulary$|masked row|1e4$|NaN|scale, softcap|ignored id$|half of V/;

/** Rows of halves: what an op computes of them, and gradients of their type. */
export function halfCases(): OpCase[] {
  return (["bf16", "f16"] as const).flatMap((dtype) => [
    ...awkwardRows.filter(({ name }) => chosen.test(name)).flatMap((rows) => rowCases(dtype, rows)),
    updateCase(
      dtype,
      awkwardRows.find(({ name }) => name === "temperature 0.7")!,
    ),
    ...headCases(dtype),
  ]);
}

function rowCases(dtype: Half, floats: Rows): OpCase[] {
  const logits = typed(dtype, floats.logits);
  const rows = { ...floats, logits };
  const T = rows.targetOffsets.length - 1;
  const N = rows.targets.length;
  const draw = randomArrays(rows.V);
  const saved = reference().logprobs({ ...rows, entropy: float64.filled(T) });
  const dlogprobs = draw.normals(N);
  const size = dlogprobs.reduce((sum, g) => sum + Math.abs(g), 0);
  const upstream = {
    lse: Float32Array.from(saved.lse),
    entropy: Float32Array.from(saved.entropy!),
    dlogprobs,
    dentropy: draw.normals(T),
  };
  const { lse } = upstream;
  const backward = (name: string, args: Parameters<typeof gradient>[0]): OpCase => ({
    op: "logprobsBackward",
    name: `${dtype}, ${rows.name}${name}`,
    scale: { dlogits: rows.several ? size : vanishing },
    ulps: ulpsOf[dtype],
    run: (ops) => ({ dlogits: gradient(args)(ops) }),
  });
  const gradient = (args: { lse: Float32Array; dlogprobs: Float32Array }) => (ops: Parameters<OpCase["run"]>[0]) => {
    const data = logits.data.slice(); // in place
    return widened(ops.logprobsBackward({ ...rows, ...args, logits: { dtype, data }, dlogits: { dtype, data } }));
  };
  return [
    {
      op: "logprobs",
      name: `${dtype}, ${rows.name}`,
      run: (ops, make) => ({
        ...ops.logprobs({
          ...rows,
          lse: make.filled(T),
          logprobs: make.filled(N),
          entropy: make.filled(T),
          sumSquares: make.filled(T),
        }),
      }),
    },
    backward("", { lse, dlogprobs }),
    backward(", with entropy", upstream),
  ];
}

function updateCase(dtype: Half, rows: Rows): OpCase {
  const args = updateArguments({ ...rows, logits: widened(typed(dtype, rows.logits)) });
  const logits = typed(dtype, rows.logits);
  return {
    op: "policyUpdate.clip",
    name: `${dtype} logits`,
    ulps: ulpsOf[dtype],
    run: (ops, make) => {
      const out = { logprobs: make.filled(rows.targets.length), lse: make.filled(rows.targetOffsets.length - 1) };
      const { dlogits, metrics } = ops.policyUpdate.clip<Typed>({ ...args, logits, ...out } as never);
      return { ...out, dlogits: widened(dlogits), ...metricOutcome(metrics) };
    },
  };
}

/** Heads with hidden states, weights or both in halves. */
function headCases(dtype: Half): OpCase[] {
  const heads = [
    headRows("H = 5, V = 33", [5, 33], { bias: free }),
    headRows("three slabs", [2, 9000], { counts: [2, 1, 0, 40] }),
    headRows("narrow slabs", [1030, 2100], { counts: [1, 2] }),
  ];
  const kinds = [
    ["both", dtype, dtype],
    ["weight", undefined, dtype],
    ["hidden", dtype, undefined],
  ] as const;
  return heads.flatMap((head) =>
    kinds.map(([kind, hiddenType, weightType]): OpCase => {
      const args = {
        ...head,
        hidden: hiddenType ? typed(hiddenType, head.hidden) : head.hidden,
        weight: weightType ? typed(weightType, head.weight) : head.weight,
      };
      const draw = randomArrays(head.V);
      const saved = reference().linearLogprobs(args);
      const [lse, logprobs] = [Float32Array.from(saved.lse), Float32Array.from(saved.logprobs)];
      const dlogprobs = draw.normals(head.targets.length);
      const size = dlogprobs.reduce((sum, g) => sum + Math.abs(g), 1);
      return {
        op: "linearLogprobs and its gradient",
        name: `${head.name}, ${kind} ${dtype}`,
        scale: { dhidden: size, dweight: size, dbias: size },
        run: (ops, make) => {
          const forward = { lse: make.filled(lse.length), logprobs: make.filled(logprobs.length) };
          ops.linearLogprobs({ ...args, ...forward });
          const out = {
            dhidden: make.filled(head.hidden.length),
            dweight: make.filled(head.weight.length, 0),
            dbias: make.filled(head.V, 0),
          };
          ops.linearLogprobsBackward({ ...args, lse, logprobs, dlogprobs, ...out });
          return { ...forward, ...out };
        },
      };
    }),
  );
}
