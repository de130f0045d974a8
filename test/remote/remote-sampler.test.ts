import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { RemoteSampler, type RemoteOptions } from "../../src/remote/remote-sampler.ts";
import type { SampleRequest } from "../../src/trajectory/index.ts";

interface Asked {
  readonly prompt: readonly number[];
  readonly max_tokens: number;
  readonly seed?: number;
}
type Reply = { readonly status?: number; readonly body: unknown; readonly afterMs?: number } | "hang" | "drop";

let server: Server | undefined;
afterEach(() => {
  server?.close();
  server?.closeAllConnections();
});

/** A server that answers as it is told, and remembers what it was asked. */
async function serving(reply: (asked: Asked, index: number) => Reply): Promise<{ url: string; asked: Asked[] }> {
  const asked: Asked[] = [];
  server = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk: Buffer) => (text += chunk.toString()));
    request.on("end", () => {
      const body = JSON.parse(text) as Asked;
      const answer = reply(body, asked.push(body) - 1);
      if (answer === "drop") request.socket.destroy();
      if (typeof answer === "string") return;
      setTimeout(() => {
        response.writeHead(answer.status ?? 200).end(JSON.stringify(answer.body));
      }, answer.afterMs ?? 0);
    });
  });
  const listening = server;
  await new Promise<void>((done) => listening.listen(0, "127.0.0.1", done));
  return { url: `http://127.0.0.1:${(listening.address() as AddressInfo).port}/v1/`, asked };
}

const sampler = (baseUrl: string, more: Partial<RemoteOptions> = {}) =>
  new RemoteSampler({ baseUrl, model: "m", backoffMs: 1, ...more });
const request = (...prefix: readonly number[]): SampleRequest => ({ prefix, maxTokens: 4 });
/** Continues a prompt by its first token and one more. */
const echo = ({ prompt }: Asked) => ({
  choices: [{ text: "x", token_ids: [prompt[0], 7], logprobs: { tokens: ["a", "b"], token_logprobs: [-1, -0.5] } }],
});

describe("RemoteSampler", () => {
  it("answers in the order of the requests, each asked once, however long each takes", async () => {
    const { url, asked } = await serving((body) => ({ body: echo(body), afterMs: 30 - 3 * body.prompt[0] }));
    const requests = Array.from({ length: 10 }, (_, i) => request(i));
    const completions = await sampler(url, { seed: 5 }).sample(requests);
    expect(completions).toEqual(requests.map(({ prefix: [i] }) => ({ tokens: [i, 7], logprobs: [-1, -0.5] })));
    expect(asked.map(({ prompt: [i] }) => i).sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(asked.every(({ seed, prompt: [i] }) => seed === 5 + i)).toBe(true);
  });

  it("asks as many at a time as it may", async () => {
    let now = 0;
    let most = 0;
    const { url } = await serving((body) => {
      most = Math.max(most, ++now);
      setTimeout(() => now--, 9);
      return { body: echo(body), afterMs: 10 };
    });
    await sampler(url, { concurrency: 3 }).sample(Array.from({ length: 12 }, (_, i) => request(i)));
    expect(most).toBe(3);
  });

  it("tries again after 429, 5xx and a lost connection, with the same body", async () => {
    const failures: readonly Reply[] = [{ status: 429, body: {} }, { status: 503, body: {} }, "drop"];
    const { url, asked } = await serving((body, index) => failures[index] ?? { body: echo(body) });
    const remote = sampler(url, { seed: 1 });
    expect(await remote.sample([request(3)])).toEqual([{ tokens: [3, 7], logprobs: [-1, -0.5] }]);
    expect(remote.retried).toBe(3);
    expect(new Set(asked.map((body) => JSON.stringify(body))).size).toBe(1);
  });

  it("gives up after its attempts, and at once where trying again cannot help", async () => {
    const { url, asked } = await serving(({ prompt: [first] }) => ({
      status: first === 1 ? 500 : 400,
      body: { why: first },
    }));
    await expect(sampler(url, { retries: 2 }).sample([request(1)])).rejects.toMatchObject({
      name: "RemoteError",
      status: 500,
    });
    expect(asked).toHaveLength(3);
    await expect(sampler(url, { retries: 2 }).sample([request(2)])).rejects.toThrow(/400: \{"why":2\}/);
    expect(asked).toHaveLength(4);
  });

  it("does not wait longer than it may, nor after it was stopped", async () => {
    const { url } = await serving(() => "hang");
    await expect(sampler(url, { timeoutMs: 30, retries: 0 }).sample([request(1)])).rejects.toThrow(
      "no answer within 30 ms",
    );
    const stop = new AbortController();
    setTimeout(() => stop.abort(new Error("enough")), 30);
    await expect(sampler(url, { signal: stop.signal }).sample([request(1), request(2)])).rejects.toThrow("enough");
    const slow = sampler(url, { signal: AbortSignal.timeout(40), timeoutMs: 5, backoffMs: 60_000 });
    await expect(slow.sample([request(1)])).rejects.toThrow();
  });

  it("reads ids from their names in the log-probs, or makes them of the text where it is told how", async () => {
    const named = { tokens: ["token_id:5", "token_id:0"], token_logprobs: [-1, -2] };
    const { url } = await serving(({ prompt: [first] }) => ({
      body: { choices: [first === 0 ? { text: "x", logprobs: named } : { text: "ab", logprobs: null }] },
    }));
    expect(await sampler(url).sample([request(0)])).toEqual([{ tokens: [5, 0], logprobs: [-1, -2] }]);
    await expect(sampler(url).sample([request(1)])).rejects.toThrow("expected token ids in the answer");
    const encode = (text: string) => Array.from(text, (c) => c.charCodeAt(0));
    const [completion] = await sampler(url, { encode }).sample([request(1)]);
    expect(completion).toEqual({ tokens: [97, 98], logprobs: [NaN, NaN] });
  });

  it("measures the tokens of sequences by their echo, from where it is told to", async () => {
    const { url, asked } = await serving(({ prompt }) => ({
      body: {
        choices: [{ text: "x", logprobs: { token_logprobs: [null, ...prompt.slice(1).map((id) => -id), -99] } }],
      },
    }));
    const sequences = [
      { tokens: [1, 2, 3, 4], from: 2 },
      { tokens: [5, 6], from: 1 },
      { tokens: [7, 8], from: 2 },
    ];
    const measured = await sampler(url).measure(sequences);
    expect(measured.map((logprobs) => [...logprobs])).toEqual([[-3, -4], [-6], []]);
    expect(asked.find(({ prompt: [first] }) => first === 1)).toEqual({
      model: "m",
      prompt: [1, 2, 3, 4],
      max_tokens: 1,
      temperature: 0,
      echo: true,
      logprobs: 0,
    });
  });

  it.each([
    ["nothing of the prompt", [-1]],
    ["no number for one of them", [null, -1, null, -1]],
  ])("refuses to measure by an answer with %s", async (_, token_logprobs) => {
    const { url } = await serving(() => ({ body: { choices: [{ text: "x", logprobs: { token_logprobs } }] } }));
    await expect(sampler(url).measure([{ tokens: [1, 2, 3], from: 1 }])).rejects.toThrow(
      "measure: expected the log-probs of the prompt in the answer (echo)",
    );
  });

  it.each([
    [{}, "expected a choice"],
    [{ choices: [] }, "expected a choice"],
    [null, "expected a choice"],
    [{ choices: [{ text: "", token_ids: [1, 2, 3, 4, 5] }] }, "expected at most 4 tokens, received 5"],
    [{ choices: [{ text: "", token_ids: [1.5] }] }, "expected token ids"],
  ])("refuses the answer %j", async (body, message) => {
    const { url, asked } = await serving(() => ({ body }));
    await expect(sampler(url).sample([request(1)])).rejects.toThrow(message);
    expect(asked).toHaveLength(1);
  });

  it("refuses what it cannot ask", async () => {
    const { url } = await serving((body) => ({ body: echo(body) }));
    const withSequences = { ...request(1), stopSequences: [[1, 2]] };
    await expect(sampler(url).sample([withSequences])).rejects.toThrow("expected no stopSequences");
    const inText = sampler(url, { decode: () => "", encode: () => [] });
    await expect(inText.measure([{ tokens: [1, 2], from: 1 }])).rejects.toThrow("expected ids that are the model's");
    expect(() => sampler(url, { concurrency: 0 })).toThrow("expected concurrency to be an integer ≥ 1, received 0");
    expect(() => sampler(url, { retries: -1 })).toThrow("expected retries to be an integer ≥ 0, received -1");
  });
});
