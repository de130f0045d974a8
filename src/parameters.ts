/** Named tensors in one flat array, so that the optimizer's ops see one pair of arrays. */

import type { Floats, Ops } from "./ops/ops.ts";
import type { Parameter } from "./policy.ts";

export interface Shape {
  readonly name: string;
  readonly shape: readonly number[];
}

export class Parameters {
  readonly list: readonly Parameter[];
  /** all tensors, one after the other */
  readonly data: Floats;
  /** their gradients, in the same order */
  readonly grad: Floats;
  readonly #byName: ReadonlyMap<string, Parameter>;

  constructor(ops: Ops, shapes: readonly Shape[]) {
    const sizes = shapes.map(({ shape }) => shape.reduce((product, size) => product * size, 1));
    const count = sizes.reduce((sum, size) => sum + size, 0);
    this.data = ops.allocate(count);
    this.grad = ops.allocate(count);
    let offset = 0;
    this.list = shapes.map(({ name, shape }, index) => {
      const end = offset + sizes[index];
      const view = { name, shape, data: this.data.subarray(offset, end), grad: this.grad.subarray(offset, end) };
      offset = end;
      return view;
    });
    this.#byName = new Map(this.list.map((parameter) => [parameter.name, parameter]));
  }

  get(name: string): Parameter {
    const parameter = this.#byName.get(name);
    if (parameter === undefined)
      throw new RangeError(`parameters: expected a known name, received ${JSON.stringify(name)}`);
    return parameter;
  }
}
