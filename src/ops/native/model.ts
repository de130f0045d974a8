/** Plans of the model ops except attention. */

import { Check } from "../check.ts";
import type { Floats, RopeArguments } from "../ops.ts";
import { call, nothing, type KernelPlans } from "./call.ts";

type ModelOp =
  | "embed"
  | "embedBackward"
  | "linear"
  | "linearBackward"
  | "rmsNorm"
  | "rmsNormBackward"
  | "rope"
  | "ropeBackward"
  | "swiglu"
  | "swigluBackward";

/** @param portable 1: the portable matrix product even where BLAS is at hand */
export function modelPlans(portable: 0 | 1): Pick<KernelPlans, ModelOp> {
  return {
    embed(args) {
      const check = new Check("embed");
      const H = check.integer("hidden", args.hidden, 1);
      const { dtype: tableDtype, data: table } = check.values("table", "[V, H]", args.table);
      const V = check.rows("table", "[V, H]", table.length, H);
      const ids = check.ints("ids", "[T]", args.ids);
      check.range("ids", "[T]", ids, 0, V - 1);
      const out = check.floats("out", "[T, H]", args.out, ids.length * H);
      return call(
        "embed",
        { T: ids.length, V, H, accumulate: args.accumulate === true ? 1 : 0, tableDtype, table, ids, out },
        nothing,
      );
    },

    embedBackward(args) {
      const check = new Check("embedBackward");
      const H = check.integer("hidden", args.hidden, 1);
      const dtable = check.floats("dtable", "[V, H]", args.dtable);
      const V = check.rows("dtable", "[V, H]", dtable.length, H);
      const ids = check.ints("ids", "[T]", args.ids);
      check.range("ids", "[T]", ids, 0, V - 1);
      const dout = check.floats("dout", "[T, H]", args.dout, ids.length * H);
      return call("embed_backward", { T: ids.length, V, H, ids, dout, dtable }, nothing);
    },

    linear(args) {
      const check = new Check("linear");
      const T = check.integer("rows", args.rows, 0);
      const { dtype: weightDtype, data: weight } = check.values("weight", "[O, I]", args.weight);
      const { I, O } = linearShape(check, T, args.x, args.y, weight.length);
      return call(
        "linear",
        {
          T,
          I,
          O,
          accumulate: args.accumulate === true ? 1 : 0,
          portable,
          weightDtype,
          x: check.floats("x", "[T, I]", args.x, T * I),
          weight,
          bias: check.optionalFloats("bias", "[O]", args.bias, O),
          y: check.floats("y", "[T, O]", args.y, T * O),
        },
        nothing,
      );
    },

    linearBackward(args) {
      const check = new Check("linearBackward");
      const T = check.integer("rows", args.rows, 0);
      const { dtype: weightDtype, data: weight } = check.values("weight", "[O, I]", args.weight);
      const { I, O } = linearShape(check, T, args.x, args.dy, weight.length);
      return call(
        "linear_backward",
        {
          T,
          I,
          O,
          accumulate: args.accumulate === true ? 1 : 0,
          portable,
          weightDtype,
          x: check.floats("x", "[T, I]", args.x, T * I),
          weight,
          dy: check.floats("dy", "[T, O]", args.dy, T * O),
          dx: check.optionalFloats("dx", "[T, I]", args.dx, T * I),
          dweight: check.optionalFloats("dweight", "[O, I]", args.dweight, O * I),
          dbias: check.optionalFloats("dbias", "[O]", args.dbias, O),
        },
        nothing,
      );
    },

    rmsNorm(args) {
      const check = new Check("rmsNorm");
      const weight = check.floats("weight", "[H]", args.weight);
      const x = check.floats("x", "[T, H]", args.x);
      const T = check.rows("x", "[T, H]", x.length, weight.length);
      return call(
        "rms_norm",
        {
          T,
          H: weight.length,
          eps: check.notNegative("eps", args.eps),
          x,
          weight,
          y: check.floats("y", "[T, H]", args.y, x.length),
          rrms: check.floats("rrms", "[T]", args.rrms, T),
        },
        nothing,
      );
    },

    rmsNormBackward(args) {
      const check = new Check("rmsNormBackward");
      const weight = check.floats("weight", "[H]", args.weight);
      const x = check.floats("x", "[T, H]", args.x);
      const T = check.rows("x", "[T, H]", x.length, weight.length);
      return call(
        "rms_norm_backward",
        {
          T,
          H: weight.length,
          accumulate: args.accumulate === true ? 1 : 0,
          x,
          weight,
          rrms: check.floats("rrms", "[T]", args.rrms, T),
          dy: check.floats("dy", "[T, H]", args.dy, x.length),
          dx: check.floats("dx", "[T, H]", args.dx, x.length),
          dweight: check.floats("dweight", "[H]", args.dweight, weight.length),
        },
        nothing,
      );
    },

    rope(args) {
      return call("rope", ropeFields(new Check("rope"), args), nothing);
    },

    ropeBackward(args) {
      return call("rope_backward", ropeFields(new Check("ropeBackward"), args), nothing);
    },

    swiglu(args) {
      const check = new Check("swiglu");
      const gate = check.floats("gate", "[count]", args.gate);
      const count = gate.length;
      return call(
        "swiglu",
        {
          count,
          gate,
          up: check.floats("up", "[count]", args.up, count),
          out: check.floats("out", "[count]", args.out, count),
        },
        nothing,
      );
    },

    swigluBackward(args) {
      const check = new Check("swigluBackward");
      const gate = check.floats("gate", "[count]", args.gate);
      const count = gate.length;
      return call(
        "swiglu_backward",
        {
          count,
          gate,
          up: check.floats("up", "[count]", args.up, count),
          dout: check.floats("dout", "[count]", args.dout, count),
          dgate: check.floats("dgate", "[count]", args.dgate, count),
          dup: check.floats("dup", "[count]", args.dup, count),
        },
        nothing,
      );
    },
  };
}

function ropeFields(check: Check, args: RopeArguments): Record<string, unknown> {
  const D = check.integer("headSize", args.headSize, 2);
  if (D % 2 !== 0) check.fail("headSize to be even", String(D));
  const heads = check.integer("heads", args.heads, 1);
  const depth = check.ints("depth", "[T]", args.depth);
  const cosines = check.floats("cosines", "[positions, D / 2]", args.cosines);
  const positions = check.rows("cosines", "[positions, D / 2]", cosines.length, D / 2);
  check.range("depth", "[T]", depth, 0, positions - 1);
  return {
    T: depth.length,
    heads,
    D,
    positions,
    depth,
    cosines,
    sines: check.floats("sines", "[positions, D / 2]", args.sines, cosines.length),
    x: check.floats("x", "[T, heads, D]", args.x, depth.length * heads * D),
  };
}

/** I and O of a linear layer from the arrays and the number of rows; from the weight where there are no rows. */
function linearShape(check: Check, T: number, x: Floats, y: Floats, weights: number): { I: number; O: number } {
  if (T === 0) return { I: weights, O: weights > 0 ? 1 : 0 };
  const I = check.rows("x", "[T, I]", x.length, T);
  const O = check.rows("y", "[T, O]", y.length, T);
  if (I * O !== weights) check.fail(`weight [O, I] to have ${O} · ${I} = ${I * O} elements`, String(weights));
  return { I, O };
}
