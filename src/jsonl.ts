/**
 * JSON Lines, a line at a time: one value per line, UTF-8, ended by `\n` or `\r\n`, the last one perhaps not ended at all.
 * A byte order mark at the beginning is dropped; lines of white space are passed over, and counted.
 */

/** A value, or why its line holds none. Lines count from 1. */
export type JsonlRow =
  { readonly line: number; readonly value: unknown } | { readonly line: number; readonly malformed: string };

const lineFeed = 0x0a;
const byteOrderMark = "\uFEFF";

/** Reads values as the bytes arrive; holds no more than one line and one chunk. */
export async function* readJsonl(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<JsonlRow> {
  let line = 0;
  for await (const bytes of splitLines(chunks)) {
    line++;
    const row = parseLine(bytes, line);
    if (row !== undefined) yield row;
  }
}

/** The bytes of each line, without its line feed. The pieces of a long line are joined once. */
export async function* splitLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let pieces: Uint8Array[] = [];
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(lineFeed); end >= 0; end = chunk.indexOf(lineFeed, start)) {
      pieces.push(chunk.subarray(start, end));
      yield join(pieces);
      pieces = [];
      start = end + 1;
    }
    if (start < chunk.length) pieces.push(chunk.subarray(start));
  }
  if (pieces.length > 0) yield join(pieces);
}

function join(pieces: readonly Uint8Array[]): Uint8Array {
  return pieces.length === 1 ? pieces[0] : Buffer.concat(pieces);
}

function parseLine(bytes: Uint8Array, line: number): JsonlRow | undefined {
  try {
    // `ignoreBOM` keeps a mark, so that one in the middle of a file is an error and not lost.
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    const json = line === 1 && text.startsWith(byteOrderMark) ? text.slice(1) : text;
    return json.trim() === "" ? undefined : { line, value: JSON.parse(json) as unknown };
  } catch (error) {
    if (error instanceof SyntaxError) return { line, malformed: `malformed JSON: ${error.message}` };
    // Not UTF-8, or longer than a string may be.
    if (error instanceof TypeError || error instanceof RangeError || isCoded(error)) {
      return { line, malformed: `not a line of UTF-8 text: ${error.message}` };
    }
    throw error;
  }
}

function isCoded(error: unknown): error is Error {
  return error instanceof Error && "code" in error;
}
