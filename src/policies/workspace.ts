/** Named scratch arrays that are kept between passes and grow when a larger batch comes. Their contents are not cleared. */
export class Workspace {
  readonly #arrays = new Map<string, Float32Array>();

  /** The first `length` elements of the array of this name, whatever an earlier pass left in them. */
  take(name: string, length: number): Float32Array {
    let array = this.#arrays.get(name);
    if (array === undefined || array.length < length) {
      array = new Float32Array(Math.ceil(length * 1.25));
      this.#arrays.set(name, array);
    }
    return array.subarray(0, length);
  }
}
