import { floatsOf } from "../halves.ts";
import type { LinearArguments, LinearBackwardArguments, Ops, RopeArguments } from "../ops.ts";
import type { Round } from "./arithmetic.ts";

type ModelOps = Pick<
  Ops,
  | "embed"
  | "embedBackward"
  | "linear"
  | "linearBackward"
  | "rmsNorm"
  | "rmsNormBackward"
  | "rope"
  | "ropeBackward"
  | "swiglu"
  | "swigluBackward"
>;

/** The position-wise model ops. */
export function modelReference(round: Round): ModelOps {
  const sum = (count: number, term: (index: number) => number) => {
    let total = 0;
    for (let index = 0; index < count; index++) total = round(total + round(term(index)));
    return total;
  };
  const sigmoid = (x: number) => round(1 / round(1 + round(Math.exp(-x))));
  const silu = (x: number) => round(x / round(1 + round(Math.exp(-x))));

  return {
    embed({ table: values, ids, hidden, out, accumulate }) {
      const table = floatsOf(values);
      ids.forEach((id, t) => {
        for (let h = 0; h < hidden; h++) {
          const value = table[id * hidden + h];
          out[t * hidden + h] = accumulate ? round(out[t * hidden + h] + value) : value;
        }
      });
    },

    embedBackward({ ids, hidden, dout, dtable }) {
      ids.forEach((id, t) => {
        for (let h = 0; h < hidden; h++)
          dtable[id * hidden + h] = round(dtable[id * hidden + h] + dout[t * hidden + h]);
      });
    },

    linear({ x, weight: values, bias, y, rows: T, accumulate }: LinearArguments) {
      const weight = floatsOf(values);
      const O = T === 0 ? 0 : y.length / T;
      const I = T === 0 ? 0 : x.length / T;
      for (let t = 0; t < T; t++) {
        for (let o = 0; o < O; o++) {
          const product = sum(I, (i) => x[t * I + i] * weight[o * I + i]);
          const value = bias ? round(product + bias[o]) : product;
          y[t * O + o] = accumulate ? round(y[t * O + o] + value) : value;
        }
      }
    },

    linearBackward({ x, weight: values, dy, rows: T, dx, dweight, dbias, accumulate }: LinearBackwardArguments) {
      const weight = floatsOf(values);
      const O = T === 0 ? 0 : dy.length / T;
      const I = T === 0 ? 0 : x.length / T;
      for (let t = 0; dx && t < T; t++) {
        for (let i = 0; i < I; i++) {
          const value = sum(O, (o) => dy[t * O + o] * weight[o * I + i]);
          dx[t * I + i] = accumulate ? round(dx[t * I + i] + value) : value;
        }
      }
      for (let o = 0; o < O; o++) {
        for (let i = 0; dweight && i < I; i++) {
          dweight[o * I + i] = round(dweight[o * I + i] + sum(T, (t) => dy[t * O + o] * x[t * I + i]));
        }
        if (dbias) dbias[o] = round(dbias[o] + sum(T, (t) => dy[t * O + o]));
      }
    },

    rmsNorm({ x, weight, eps, y, rrms }) {
      const H = weight.length;
      for (let t = 0; t < rrms.length; t++) {
        const squares = sum(H, (h) => x[t * H + h] * x[t * H + h]);
        const scale = round(1 / round(Math.sqrt(round(round(squares / H) + eps))));
        for (let h = 0; h < H; h++) y[t * H + h] = round(round(x[t * H + h] * scale) * weight[h]);
        rrms[t] = scale;
      }
    },

    rmsNormBackward({ x, weight, rrms, dy, dx, dweight, accumulate }) {
      const H = weight.length;
      const T = rrms.length;
      for (let t = 0; t < T; t++) {
        const g = (h: number) => round(dy[t * H + h] * weight[h]);
        const mean = round(sum(H, (h) => g(h) * x[t * H + h]) / H);
        const pull = round(round(rrms[t] * rrms[t]) * mean);
        for (let h = 0; h < H; h++) {
          const value = round(rrms[t] * round(g(h) - round(x[t * H + h] * pull)));
          dx[t * H + h] = accumulate ? round(dx[t * H + h] + value) : value;
        }
      }
      for (let h = 0; h < H; h++) {
        dweight[h] = round(dweight[h] + sum(T, (t) => round(dy[t * H + h] * x[t * H + h]) * rrms[t]));
      }
    },

    rope: (args) => rotate(args, 1, round),
    ropeBackward: (args) => rotate(args, -1, round),

    swiglu({ gate, up, out }) {
      for (let i = 0; i < gate.length; i++) out[i] = round(silu(gate[i]) * up[i]);
    },

    swigluBackward({ gate, up, dout, dgate, dup }) {
      for (let i = 0; i < gate.length; i++) {
        const sigma = sigmoid(gate[i]);
        const slope = round(sigma * round(1 + round(gate[i] * round(1 - sigma))));
        const dsilu = round(dout[i] * up[i]);
        const value = round(dout[i] * silu(gate[i]));
        dgate[i] = round(dsilu * slope); // after both were read: dgate may be gate, dup may be up
        dup[i] = value;
      }
    },
  };
}

/** Turns the pairs (i, i + D/2) of every head by the angle of the row's depth, or back. */
function rotate(
  { x, depth, heads, cosines, sines, headSize: D }: RopeArguments,
  direction: 1 | -1,
  round: Round,
): void {
  const half = D / 2;
  depth.forEach((position, t) => {
    for (let h = 0; h < heads; h++) {
      const start = (t * heads + h) * D;
      for (let i = 0; i < half; i++) {
        const c = cosines[position * half + i];
        const s = direction * sines[position * half + i];
        const [a, b] = [x[start + i], x[start + half + i]];
        x[start + i] = round(round(a * c) - round(b * s));
        x[start + half + i] = round(round(b * c) + round(a * s));
      }
    }
  });
}
