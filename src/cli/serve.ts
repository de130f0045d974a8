/** `stepcredit serve DIR`: a policy behind the OpenAI API. */

import { basename, resolve } from "node:path";

import { Command } from "commander";

import { UsageError } from "./errors.ts";
import { integerFrom, jsonOption } from "./options.ts";
import { openOutput, writeJson } from "./output.ts";

interface ServeCliOptions {
  readonly host: string;
  readonly port: number;
  readonly key?: string;
  readonly name?: string;
  readonly json?: string;
}

export function serveCommand(): Command {
  return new Command("serve")
    .description("serve a Hugging Face directory over the OpenAI API: completions and chat")
    .argument("<directory>", "of the policy, with its tokenizer")
    .option("--host <address>", "where to listen; anything but loopback is open to the network", "127.0.0.1")
    .option("--port <number>", "0: one that is free", integerFrom(0), 8000)
    .option("--key <text>", "asked for as a bearer token (default: STEPCREDIT_SERVE_KEY, else none)")
    .option("--name <name>", "what the model is called (default: the directory's name)")
    .addOption(jsonOption())
    .action(serve);
}

async function serve(directory: string, options: ServeCliOptions): Promise<void> {
  const { TransformerPolicy } = await import("../policies/transformer.ts");
  const { servePolicy } = await import("../serve/server.ts");
  const json = options.json === undefined ? undefined : await openOutput(options.json);
  const key = options.key ?? process.env["STEPCREDIT_SERVE_KEY"];
  const model = options.name ?? basename(resolve(directory));
  const policy = await TransformerPolicy.load(directory);
  if (policy.tokenizer === undefined) {
    throw new UsageError(`serve: expected tokenizer.json in ${directory}, found none`);
  }
  const server = servePolicy(policy, { model, ...(key !== undefined && { key }) });
  await new Promise<void>((listening, failed) => {
    server.once("error", (error) => failed(new UsageError(`serve: ${error.message}`, { cause: error })));
    server.listen(options.port, options.host, listening);
  });
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : options.port;
  const host = options.host.includes(":") ? `[${options.host}]` : options.host;
  const url = `http://${host}:${port}/v1`;
  console.log(`${model} at ${url}`);
  if (json !== undefined) await writeJson(json, { model, url });
  const close = (): void => {
    server.close();
    server.closeAllConnections();
  };
  process.once("SIGINT", close);
  process.once("SIGTERM", close);
  await new Promise<void>((closed) => server.once("close", closed));
}
