import { Readable, Writable } from "node:stream";

/** A stream that keeps what is written to it. */
export class Collected extends Writable {
  text = "";

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += chunk.toString("utf8");
    done();
  }

  /** each line as JSON */
  get values(): unknown[] {
    return this.text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as unknown);
  }
}

/** Streams for a command, with `input` as its stdin. */
export function commandStreams(input: string | Uint8Array = ""): {
  stdin: Readable;
  stdout: Collected;
  stderr: Collected;
} {
  return { stdin: Readable.from([Buffer.from(input)]), stdout: new Collected(), stderr: new Collected() };
}
