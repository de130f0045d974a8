/** Vectors of the squared error of a value head. */
import type { Ops } from "../ops/ops.ts";
import { normaliserOf } from "./aggregation.ts";
import { gather, layoutOf, spread } from "./layout.ts";
import { floats, optionalNumber, rows, type Computed, type GoldenVector, type Precision } from "./vector.ts";

export function computeValueLoss(vector: GoldenVector, ops: Ops, precision: Precision): Computed {
  const { inputs, options } = vector;
  const layout = layoutOf(rows(inputs["mask"], "mask"));
  const targets = (name: string) => floats(precision, gather(layout, inputs[name], name));
  const clip = optionalNumber(options, "clip");
  const { dvalues, metrics } = ops.valueLoss({
    values: targets("values"),
    returns: targets("returns"),
    weights: floats(precision, normaliserOf(options["aggregation"], options, layout).weights),
    ...(clip === undefined ? {} : { clip, oldValues: targets("old_values") }),
    dvalues: targets("values"),
  });
  return {
    values: { loss: metrics.loss, grad_values: spread(layout, dvalues), clip_frac: metrics.clipFraction },
  };
}
