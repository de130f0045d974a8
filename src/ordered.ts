/**
 * What work makes of each value, in the order of the values and as soon as it is there; up to `ahead` of them are worked on
 * at a time. Where work rejects, so does this, when the turn comes to that value.
 */
export async function* inOrder<T, R>(
  values: AsyncIterable<T>,
  ahead: number,
  work: (value: T) => R | Promise<R>,
): AsyncGenerator<R> {
  const source = values[Symbol.asyncIterator]();
  const begun: Promise<R>[] = [];
  let coming: Promise<IteratorResult<T, unknown>> | undefined = quiet(source.next());
  try {
    while (coming !== undefined || begun.length > 0) {
      // A result does not wait for the next value, which may be long in coming.
      if (coming === undefined || begun.length === ahead || (await settlesFirst(begun[0], coming))) {
        yield await begun[0];
        void begun.shift();
        continue;
      }
      const next: IteratorResult<T, unknown> = await coming;
      if (next.done !== true) begun.push(quiet((async () => work(next.value))()));
      coming = next.done === true ? undefined : quiet(source.next());
    }
  } finally {
    // Not waited for: whoever stops taking results need not wait for a value that may never come.
    void source.return?.().catch(() => undefined);
  }
}

/** Whether the one settles before the other. */
function settlesFirst(one: Promise<unknown> | undefined, other: Promise<unknown>): Promise<boolean> {
  const settled = (promise: Promise<unknown>, value: boolean): Promise<boolean> =>
    promise.then(
      () => value,
      () => value,
    );
  return one === undefined ? Promise.resolve(false) : Promise.race([settled(one, true), settled(other, false)]);
}

/** A rejection is seen when its turn comes; until then it is nobody's. */
function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}
