import type { Values } from "../../../src/ops/ops.ts";
import { reference } from "../../../src/ops/reference.ts";
import { randomArrays, typed, type Half } from "../arrays.ts";
import type { OpCase } from "./op-case.ts";

export function modelCases(): OpCase[] {
  return [...embedCases(), ...linearCases(), ...rmsNormCases(), ...ropeCases(), ...swigluCases()];
}

function embedCases(): OpCase[] {
  return [
    [0, 3, 4],
    [1, 1, 1],
    [5, 3, 17],
    [40, 9, 33],
  ].flatMap(([T, V, hidden]): OpCase[] => {
    const draw = randomArrays(T + hidden);
    const [table, dout, before] = [draw.normals(V * hidden), draw.normals(T * hidden), draw.normals(T * hidden)];
    const ids = draw.integers(T, V);
    const embed = (accumulate: boolean, kind = "f32", values: Values = table): OpCase => ({
      op: "embed",
      name: `T = ${T}, V = ${V}, H = ${hidden}, ${kind}, accumulate ${accumulate}`,
      run: (ops, make) => {
        const out = make.copy(before);
        ops.embed({ table: values, ids, hidden, out, accumulate });
        return { out };
      },
    });
    const halves = (["bf16", "f16"] as const).flatMap((dtype) =>
      [false, true].map((accumulate) => embed(accumulate, dtype, typed(dtype, table))),
    );
    const backward: OpCase = {
      op: "embedBackward",
      name: `T = ${T}, V = ${V}, H = ${hidden}`,
      run: (ops, make) => {
        const dtable = make.copy(table);
        ops.embedBackward({ ids, hidden, dout, dtable });
        return { dtable };
      },
    };
    return [embed(false), embed(true), ...halves, backward];
  });
}

export const linearShapes: readonly (readonly [number, number, number])[] = [
  [1, 1, 1],
  [1, 17, 19],
  [2, 8, 16],
  [5, 3, 2],
  [33, 17, 19],
  [7, 64, 65],
  [16, 128, 48],
  [70, 100, 130],
  [11, 256, 257], // goes to BLAS
  [2100, 3, 5], // the gradient of the weight is summed in segments
];

/** Of these the weight comes in half types too. */
const halfLinearShapes: typeof linearShapes = [
  [1, 17, 19],
  [33, 17, 19],
  [7, 64, 65],
  [70, 100, 130],
  [11, 256, 257], // goes to BLAS
  [2, 2100, 300], // a weight that is widened in two slabs
];

function linearCases(): OpCase[] {
  return [
    ...linearCasesOf(linearShapes, "", (weight) => weight),
    ...(["bf16", "f16"] as const).flatMap((dtype) => halfLinearCases(dtype, halfLinearShapes)),
  ];
}

export function halfLinearCases(dtype: Half, shapes: typeof linearShapes): OpCase[] {
  return linearCasesOf(shapes, `, ${dtype}`, (weight) => typed(dtype, weight));
}

function linearCasesOf(shapes: typeof linearShapes, kind: string, stored: (weight: Float32Array) => Values): OpCase[] {
  return shapes.flatMap(([rows, I, O]): OpCase[] => {
    const draw = randomArrays(rows * I + O);
    const [x, numbers, bias] = [draw.normals(rows * I), draw.normals(O * I), draw.normals(O)];
    const weight = stored(numbers);
    const [dy, y0, dx0] = [draw.normals(rows * O), draw.normals(rows * O), draw.normals(rows * I)];
    const shape = `[${rows}, ${I}] × [${O}, ${I}]${kind}`;
    const scale = Math.sqrt(I); // products of unit normals: what a sum that cancels went through
    const forward = (withBias: boolean, accumulate: boolean): OpCase => ({
      op: "linear",
      name: `${shape}, bias ${withBias}, accumulate ${accumulate}`,
      scale: { y: scale },
      run: (ops, make) => {
        const y = accumulate ? make.copy(y0) : make.filled(rows * O, NaN);
        ops.linear({ x, weight, rows, y, accumulate, ...(withBias && { bias }) });
        return { y };
      },
    });
    const backward = (accumulate: boolean): OpCase => ({
      op: "linearBackward",
      name: `${shape}, accumulate ${accumulate}`,
      scale: { dx: Math.sqrt(O), dweight: Math.sqrt(rows), dbias: Math.sqrt(rows) },
      run: (ops, make) => {
        const dx = accumulate ? make.copy(dx0) : make.filled(rows * I, NaN);
        const [dweight, dbias] = [make.copy(numbers), make.copy(bias)];
        ops.linearBackward({ x, weight, dy, rows, dx, dweight, dbias, accumulate });
        return { dx, dweight, dbias };
      },
    });
    const only: OpCase = {
      op: "linearBackward",
      name: `${shape}, dx alone`,
      scale: { dx: Math.sqrt(O) },
      run: (ops, make) => {
        const dx = make.filled(rows * I, NaN);
        ops.linearBackward({ x, weight, dy, rows, dx });
        return { dx };
      },
    };
    return [
      forward(false, false),
      forward(true, false),
      forward(false, true),
      forward(true, true),
      backward(false),
      backward(true),
      only,
    ];
  });
}

function rmsNormCases(): OpCase[] {
  return [
    [1, 1],
    [3, 7],
    [4, 16],
    [5, 33],
    [33, 128],
    [2, 1000],
    [2100, 17], // more rows than one chunk of the backward
  ].flatMap(([T, H]): OpCase[] => {
    const draw = randomArrays(T + H);
    const [x, weight, dy, dx0] = [draw.normals(T * H), draw.normals(H), draw.normals(T * H), draw.normals(T * H)];
    if (T > 2) x.fill(0, H, 2 * H); // a row of zeros is divided by √eps
    const eps = 1e-6;
    const rrms = new Float32Array(T);
    reference().rmsNorm({ x, weight, eps, y: new Float64Array(T * H), rrms });
    const forward: OpCase = {
      op: "rmsNorm",
      name: `T = ${T}, H = ${H}`,
      run: (ops, make) => {
        const out = { y: make.filled(T * H), rrms: make.filled(T) };
        ops.rmsNorm({ x, weight, eps, ...out });
        return out;
      },
    };
    const backward = (accumulate: boolean): OpCase => ({
      op: "rmsNormBackward",
      name: `T = ${T}, H = ${H}, accumulate ${accumulate}`,
      scale: { dx: 1, dweight: Math.sqrt(T) },
      run: (ops, make) => {
        const out = { dx: accumulate ? make.copy(dx0) : make.filled(T * H, NaN), dweight: make.copy(weight) };
        ops.rmsNormBackward({ x, weight, rrms, dy, accumulate, ...out });
        return out;
      },
    });
    return [forward, backward(false), backward(true)];
  });
}

function ropeCases(): OpCase[] {
  return [
    [1, 1, 2],
    [5, 2, 4],
    [7, 4, 16],
    [33, 3, 20],
  ].flatMap(([T, heads, D]): OpCase[] => {
    const draw = randomArrays(T + D);
    const positions = 50;
    const angles = Array.from(
      { length: (positions * D) / 2 },
      (_, i) => Math.floor(i / (D / 2)) * 10000 ** (-(2 * (i % (D / 2))) / D),
    );
    const [cosines, sines] = [Float32Array.from(angles, Math.cos), Float32Array.from(angles, Math.sin)];
    const depth = draw.integers(T, positions);
    const before = draw.normals(T * heads * D);
    return (["rope", "ropeBackward"] as const).map((op) => ({
      op,
      name: `T = ${T}, ${heads} heads of ${D}`,
      scale: { x: 1 },
      run: (ops, make) => {
        const x = make.copy(before);
        ops[op]({ x, depth, heads, cosines, sines, headSize: D });
        return { x };
      },
    }));
  });
}

function swigluCases(): OpCase[] {
  return [0, 1, 7, 8, 33, 1000].flatMap((count): OpCase[] => {
    const draw = randomArrays(count);
    const [gate, up, dout] = [draw.normals(count, 3), draw.normals(count), draw.normals(count)];
    if (count === 33) gate.set([-100, 100, -1e4, 1e4, 0, -20, 20]);
    return [
      {
        op: "swiglu",
        name: `${count} values`,
        run: (ops, make) => {
          const out = make.filled(count);
          ops.swiglu({ gate, up, out });
          return { out };
        },
      },
      {
        op: "swigluBackward",
        name: `${count} values`,
        run: (ops, make) => {
          const out = { dgate: make.filled(count), dup: make.filled(count) };
          ops.swigluBackward({ gate, up, dout, ...out });
          return out;
        },
      },
    ];
  });
}
