/** What a program may use. */

export interface ProgramLimits {
  /** of one run (all calls, or one case): for python CPU time, and twice that by the clock; default 10 */
  readonly seconds?: number;
  /** in bytes; default 512 MiB */
  readonly memory?: number;
  /** written by one run, values of calls included, in bytes; default 1 MiB */
  readonly output?: number;
  /** programs at a time; default 0: as many as there are usable cores */
  readonly concurrency?: number;
}

/** @throws RangeError that names the limit */
export function resolveLimits(operation: string, limits: ProgramLimits): Required<ProgramLimits> {
  const { seconds = 10, memory = 512 * 2 ** 20, output = 2 ** 20, concurrency = 0 } = limits;
  for (const [name, value] of Object.entries({ seconds, memory, output })) {
    if (!(value > 0 && value < 2 ** 31)) {
      throw new RangeError(`${operation}: expected ${name} to be a number above 0 and below 2^31, received ${value}`);
    }
  }
  return { seconds, memory, output, concurrency };
}
