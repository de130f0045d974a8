import { mkdtempSync, rmSync } from "node:fs";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { packSequences } from "../../src/batch.ts";
import { openOps } from "../../src/ops/native.ts";
import { TransformerPolicy } from "../../src/policies/transformer.ts";
import { RemoteSampler } from "../../src/remote/remote-sampler.ts";
import { servePolicy } from "../../src/serve/server.ts";
import { endToken, writeLettersModel } from "../support/letters.ts";

let folder = "";
let policy: TransformerPolicy;
let server: Server;
let url = "";
const key = "secret";

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "stepcredit-"));
  policy = await TransformerPolicy.load(writeLettersModel(join(folder, "letters")), {
    ops: openOps("cpu", { blas: false }),
  });
  server = servePolicy(policy, { model: "letters", key, maxBodyBytes: 10_000 });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
});
afterAll(() => {
  server.close();
  server.closeAllConnections();
  rmSync(folder, { recursive: true });
});

interface Answer {
  readonly status: number;
  readonly body: {
    readonly choices: readonly {
      readonly text: string;
      readonly finish_reason: string;
      readonly token_ids?: readonly number[];
      readonly prompt_token_ids?: readonly number[];
      readonly message?: { readonly content: string };
      readonly logprobs: {
        readonly tokens: readonly string[];
        readonly token_logprobs: readonly (number | null)[];
      } | null;
    }[];
    readonly usage: Readonly<Record<string, number>>;
    readonly error: { readonly message: string; readonly param: string | null; readonly type: string };
  };
}

async function post(path: string, body: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
  const response = await fetch(`${url}${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as Answer["body"] };
}

const local = (prompts: readonly string[], maxTokens: number, temperature = 0) =>
  policy.generate(prompts, { maxTokens, temperature, seed: 3 });

describe("completions", () => {
  it("are the policy's own, with their log-probs and ids", async () => {
    const [written] = await local(["abc"], 8, 0.7);
    const { status, body } = await post("/completions", {
      model: "letters",
      prompt: "abc",
      max_tokens: 8,
      temperature: 0.7,
      seed: 3,
      logprobs: 0,
      return_token_ids: true,
    });
    expect(status).toBe(200);
    const [choice] = body.choices;
    expect(choice).toMatchObject({ text: written.text, token_ids: written.tokens, prompt_token_ids: [0, 1, 2] });
    expect(choice.logprobs?.token_logprobs).toEqual(written.logprobs);
    expect(choice.logprobs?.tokens.join("")).toBe(written.text);
    expect(choice.finish_reason).toBe(written.tokens.at(-1) === endToken ? "stop" : "length");
    expect(body.usage).toEqual({
      prompt_tokens: 3,
      completion_tokens: written.tokens.length,
      total_tokens: 3 + written.tokens.length,
    });
  });

  it("come n for every prompt, texts or ids, in their order", async () => {
    const greedy = await local(["abc", "de"], 5);
    const asTexts = await post("/completions", { prompt: ["abc", "de"], n: 2, max_tokens: 5, temperature: 0 });
    expect(asTexts.body.choices.map(({ text }) => text)).toEqual([0, 0, 1, 1].map((p) => greedy[p].text));
    const asIds = await post("/completions", {
      prompt: [
        [0, 1, 2],
        [3, 4],
      ],
      max_tokens: 5,
      temperature: 0,
      return_token_ids: true,
    });
    expect(asIds.body.choices.map(({ text }) => text)).toEqual(greedy.map(({ text }) => text));
    expect(asIds.body.choices.map((choice) => choice.prompt_token_ids)).toEqual([
      [0, 1, 2],
      [3, 4],
    ]);
  });

  it("come behind their prompts where these are echoed, with the log-probs of all but the first token", async () => {
    const prompt = [[0, 1, 2], [3]];
    const asked = { prompt, n: 2, max_tokens: 2, temperature: 0, echo: true, logprobs: 0, return_token_ids: true };
    const { body } = await post("/completions", asked);
    const greedy = await local(["abc", "d"], 2);
    expect(body.choices.map(({ text }) => text)).toEqual(
      ["abc", "abc", "d", "d"].map((head, c) => `${head}${greedy[Math.floor(c / 2)].text ?? ""}`),
    );
    const measured = [...policy.logprobs(packSequences([prompt[0]]))];
    expect(body.choices[1].logprobs?.token_logprobs).toEqual([null, ...measured, ...greedy[0].logprobs]);
    expect(body.choices[2].logprobs?.token_logprobs).toEqual([null, ...greedy[1].logprobs]);
    expect(body.choices[0].logprobs?.tokens.join("")).toBe(body.choices[0].text);
    expect(body.choices[0].token_ids).toEqual(greedy[0].tokens);
    expect(body.usage.completion_tokens).toBe(2 * (greedy[0].tokens.length + greedy[1].tokens.length));
  });

  it("end before a stop text, wherever its tokens lie", async () => {
    const [{ text = "" }] = await local(["abc"], 20);
    const stop = text.slice(4, 6);
    const { body } = await post("/completions", {
      prompt: "abc",
      max_tokens: 20,
      temperature: 0,
      stop,
      return_token_ids: true,
    });
    const at = text.indexOf(stop);
    expect(body.choices[0]).toMatchObject({ text: text.slice(0, at), finish_reason: "stop" });
    expect(body.choices[0].token_ids).toHaveLength(at + 2);
  });
});

describe("chat", () => {
  it("goes through the directory's template", async () => {
    const messages = [{ role: "user", content: "bc" }];
    const { body } = await post("/chat/completions", { messages, max_tokens: 6, temperature: 0 });
    expect(body.choices[0].message?.content).toBe((await local(["qbca"], 6))[0].text);
    const parts = [
      {
        role: "user",
        content: [
          { type: "text", text: "b" },
          { type: "text", text: "c" },
        ],
      },
    ];
    const again = await post("/chat/completions", { messages: parts, max_tokens: 6, temperature: 0 });
    expect(again.body.choices[0].message?.content).toBe(body.choices[0].message?.content);
  });
});

describe("what cannot be answered", () => {
  const prompt = "abc";
  it.each([
    ["/completions", {}, 400, "prompt"],
    ["/completions", { prompt: "" }, 400, "prompt"],
    ["/completions", { prompt, max_tokens: 0 }, 400, "max_tokens"],
    ["/completions", { prompt, max_tokens: 62 }, 400, "max_tokens"],
    ["/completions", { prompt, temperature: -1 }, 400, "temperature"],
    ["/completions", { prompt, top_p: 0 }, 400, "top_p"],
    ["/completions", { prompt, n: 1000 }, 400, "n"],
    ["/completions", { prompt, echo: 1 }, 400, "echo"],
    ["/completions", { prompt: [[99]] }, 400, "prompt"],
    ["/completions", { prompt, model: "gpt" }, 404, "model"],
    ["/chat/completions", { messages: [] }, 400, "messages"],
    ["/chat/completions", { messages: [{ role: "user", content: 1 }] }, 400, "messages.0.content"],
    ["/nothing", {}, 404, null],
    ["/models", {}, 405, null],
    ["/completions", "{", 400, null],
    ["/completions", JSON.stringify({ prompt: "a".repeat(20_000) }), 413, null],
  ])("%s with %j gets %i and names %j", async (path, body, status, param) => {
    const answer = await post(path, body);
    expect(answer.status).toBe(status);
    expect(answer.body.error).toMatchObject({ param, type: "invalid_request_error" });
    expect(answer.body.error.message).not.toBe("");
  });

  it("is a request without the key", async () => {
    for (const authorization of ["", "Bearer wrong", key]) {
      expect((await post("/completions", { prompt }, { authorization })).status).toBe(401);
    }
    expect((await fetch(`${url}/models`)).status).toBe(401);
  });

  it("is a policy without a tokenizer", () => {
    const bare = new TransformerPolicy(policy.config);
    expect(() => servePolicy(bare, { model: "bare" })).toThrow("serve: expected a policy with a tokenizer, found none");
  });
});

describe("the openai package", () => {
  const client = () => new OpenAI({ baseURL: url, apiKey: key, maxRetries: 0 });

  it("lists, completes, chats and streams", async () => {
    const models = await client().models.list();
    expect(models.data.map(({ id }) => id)).toEqual(["letters"]);
    const asked = { model: "letters", max_tokens: 7, temperature: 0 };
    const [{ text }] = await local(["abc"], 7);
    const completion = await client().completions.create({ ...asked, prompt: "abc" });
    expect(completion.choices[0].text).toBe(text);
    const messages = [{ role: "user" as const, content: "bc" }];
    const chat = await client().chat.completions.create({ ...asked, messages, logprobs: true });
    const [{ text: said = "" }] = await local(["qbca"], 7);
    expect(chat.choices[0].message.content).toBe(said);
    expect(chat.choices[0].logprobs?.content?.map(({ token }) => token).join("")).toBe(said);
    let streamed = "";
    const reasons: (string | null)[] = [];
    for await (const { choices } of await client().chat.completions.create({ ...asked, messages, stream: true })) {
      streamed += choices[0].delta.content ?? "";
      reasons.push(choices[0].finish_reason);
    }
    expect(streamed).toBe(said);
    expect(reasons.at(-1)).toBe(chat.choices[0].finish_reason);
    let text2 = "";
    for await (const { choices } of await client().completions.create({ ...asked, prompt: "abc", stream: true })) {
      text2 += choices[0].text;
    }
    expect(text2).toBe(text);
  });

  it("hears what is wrong", async () => {
    const asked = { model: "letters", prompt: "abc", max_tokens: 100 };
    await expect(client().completions.create(asked)).rejects.toMatchObject({ status: 400, param: "max_tokens" });
  });
});

describe("RemoteSampler against the server", () => {
  it("gives what the policy's own sampler gives", async () => {
    const requests = [
      { prefix: [0, 1, 2], maxTokens: 9, stop: [endToken] },
      { prefix: [3], maxTokens: 4 },
      { prefix: [5, 6], maxTokens: 12, stop: [2, 4] },
    ];
    const remote = new RemoteSampler({ baseUrl: url, model: "letters", key, temperature: 0 });
    const own = await policy.sampler({ seed: 0, temperature: 0 }).sample(requests);
    const there = await remote.sample(requests);
    // The server ends at the model's own end token too.
    there.forEach(({ tokens, logprobs }, r) => {
      const end = own[r].tokens.indexOf(endToken);
      const length = end < 0 ? own[r].tokens.length : end + 1;
      expect(tokens).toEqual(own[r].tokens.slice(0, length));
      expect(logprobs).toEqual(own[r].logprobs.slice(0, length));
    });
  });

  it("measures what the policy measures", async () => {
    const sequences = [
      { tokens: [0, 1, 2, 3], from: 2 },
      { tokens: [5, 6], from: 1 },
      { tokens: [7, 8, 9], from: 3 },
    ];
    const measured = await new RemoteSampler({ baseUrl: url, model: "letters", key }).measure(sequences);
    expect(measured.map((logprobs) => [...logprobs])).toEqual(
      sequences.map(({ tokens, from }) => [...policy.logprobs(packSequences([tokens]))].slice(from - 1)),
    );
  });
});
