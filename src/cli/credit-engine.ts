/** The options of `credit` that name an engine, a verifier and a tokenizer, and what they open. */

import { Command, InvalidArgumentError, Option } from "commander";

import { creditEngineDefaults, type CreditEngine, type CreditMeans } from "../credit-engine.ts";
import type { CorrectionSource } from "../credit.ts";
import { hintIn, needs } from "../tasks/template.ts";
import type { Tokenizer } from "../tokenizers/tokenizer.ts";
import { pythonContainments, type PythonContainment } from "../verifiers/code/python.ts";
import { expectedVerifier, isVerifierName, openVerifier } from "../verifiers/index.ts";
import { Turns } from "../verifiers/turns.ts";
import { UsageError } from "./errors.ts";
import { finiteNumber, integerFrom, notNegative } from "./options.ts";

export interface EngineOptions {
  readonly verifier?: string;
  readonly marker: string;
  readonly seconds: number;
  readonly containment: PythonContainment;
  readonly tokenizer?: string;
  readonly engine?: string;
  readonly model?: string;
  readonly apiKeyEnv?: string;
  readonly identify?: readonly Source[];
  readonly template: string;
  readonly chat?: boolean;
  readonly repairTemplate: string;
  readonly repairPlausibility: number;
  readonly critiqueTemplate: string;
  readonly critiqueTokens: number;
  readonly samples: number;
  readonly search: "gallop" | "bisect";
  readonly probes: number;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly stop: readonly string[];
  readonly seed: number;
  readonly concurrency: number;
  readonly retries: number;
  readonly timeout: number;
}

const sources = ["siblings", "search", "repair", "critique"] as const;
type Source = (typeof sources)[number];
const standardSources: readonly Source[] = ["siblings", "search"];

/** Everything that says nothing without `--engine`. */
const engineOptions = (): readonly Option[] => [
  new Option("--model <name>", "what the engine calls its model"),
  new Option("--api-key-env <name>", "the environment variable that holds the engine's key; default: no key is sent"),
  new Option(
    "--identify <sources>",
    `where references come from, in this order: ${sources.join(", ")}; siblings cost nothing and always come first; ` +
      `default: ${standardSources.join(",")}`,
  ).argParser(parseSources),
  new Option("--template <text>", "what the engine continues, with {prompt} in it").default(
    creditEngineDefaults.template,
  ),
  new Option("--chat", "put that text into the tokenizer's chat template as the user's message"),
  new Option(
    "--repair-template <text>",
    "how a repair is asked for, with {prompt} and {attempt}, {answer} where the known answer may be seen, and " +
      "{#sibling}…{sibling}…{/sibling} where a success of the group may be, left out where there is none",
  ).default(creditEngineDefaults.repairTemplate),
  new Option(
    "--repair-plausibility <probability>",
    "a repair is believed where each token that it changed has this probability without the repair's prompt; 0: all are",
  )
    .argParser(share)
    .default(creditEngineDefaults.repairPlausibility),
  new Option("--critique-template <text>", "how a critique is asked for, with {prompt} and {steps}").default(
    creditEngineDefaults.critiqueTemplate,
  ),
  new Option("--critique-tokens <number>", "of a critique")
    .argParser(integerFrom(1))
    .default(creditEngineDefaults.critiqueTokens),
  new Option("--samples <number>", "repairs of a failed rollout, or continuations of a boundary")
    .argParser(integerFrom(1))
    .default(1),
  new Option("--search <order>", "boundaries to continue from: the last 1, 2, 4 … steps, or by halves")
    .choices(["gallop", "bisect"])
    .default("gallop"),
  new Option("--probes <number>", "boundaries searched per failed rollout").argParser(integerFrom(1)).default(2),
  new Option("--max-tokens <number>", "written in one go").argParser(integerFrom(1)).default(1024),
  new Option("--temperature <number>", "of what is sampled").argParser(notNegative).default(1),
  new Option("--stop <text>", "ends what is written; may be given again. With --tokenizer: a single token")
    .argParser((text: string, before: readonly string[]) => [...before, text])
    .default([] as readonly string[]),
  new Option("--seed <number>", "with a record's id it gives the seeds of its requests")
    .argParser(integerFrom(0))
    .default(0),
  new Option("--concurrency <number>", "requests at a time, and records worked on")
    .argParser(integerFrom(1))
    .default(8),
  new Option("--retries <number>", "of a request that fails for now").argParser(integerFrom(0)).default(4),
  new Option("--timeout <seconds>", "of one attempt").argParser(seconds).default(600),
];

export function addEngineOptions(command: Command): Command {
  command
    .addOption(
      new Option("--verifier <name>", `judges what has no reward: ${expectedVerifier}`).argParser((text: string) => {
        if (isVerifierName(text)) return text;
        throw new InvalidArgumentError(`Expected ${expectedVerifier}.`);
      }),
    )
    .option("--marker <text>", "of the verifier: the answer comes after its last occurrence", "")
    .option("--seconds <number>", "of the verifier: one run of a program, one verdict of a module", seconds, 10)
    .addOption(
      new Option("--containment <kind>", "of the verifier: what holds a program in Python")
        .choices(pythonContainments)
        .default("kernel"),
    )
    .option("--tokenizer <directory>", "makes tokens of texts (tokenizer.json): positions and advantages are per token")
    .option(
      "--engine <url>",
      "an OpenAI-compatible server that writes references, such as http://localhost:8000/v1",
      url,
    );
  for (const option of engineOptions()) command.addOption(option);
  return command;
}

export interface OpenedMeans {
  readonly means: CreditMeans;
  readonly tokenizer?: Tokenizer;
  /** records worked on at a time */
  readonly ahead: number;
}

/** Records of which only a verifier is asked, at a time; it bounds its own work. */
const aheadOfVerifier = 16;

/** @throws UsageError for options that do not go together, or that name what is not there */
export async function openMeans(options: EngineOptions, command: Command): Promise<OpenedMeans> {
  checkTogether(options, command);
  const verifier =
    options.verifier === undefined
      ? undefined
      : await openVerifier(options.verifier, { ...options, concurrency: 0 }).catch(asUsage("--verifier"));
  const tokenizer = options.tokenizer === undefined ? undefined : await openTokenizer(options.tokenizer, options);
  const engine = options.engine === undefined ? undefined : await engineOf(options.engine, options, tokenizer);
  return {
    means: { ...(verifier && { verifier }), ...(engine && { engine }) },
    ...(tokenizer && { tokenizer }),
    ahead: engine !== undefined ? options.concurrency : verifier !== undefined ? aheadOfVerifier : 1,
  };
}

function checkTogether(options: EngineOptions, command: Command): void {
  const require = (holds: boolean, message: string): void => {
    if (!holds) throw new UsageError(message);
  };
  const { engine, model, apiKeyEnv, chat = false, tokenizer } = options;
  if (engine === undefined) {
    const given = engineOptions().find((option) => command.getOptionValueSource(option.attributeName()) === "cli");
    require(given === undefined, `${given?.long}: expected --engine too, which it is about`);
    return;
  }
  require(model !== undefined, "--engine: expected --model too, what it calls its model");
  require(apiKeyEnv === undefined || process.env[apiKeyEnv] !== undefined, `--api-key-env: ${apiKeyEnv} is not set`);
  require(options.verifier !== undefined, "--engine: expected --verifier too, which judges what is written");
  require(!chat || tokenizer !== undefined, "--chat: expected --tokenizer too, for its chat template");
  require(options.template.includes("{prompt}"), "--template: expected {prompt} in it");
  require(options.repairTemplate.includes("{attempt}"), "--repair-template: expected {attempt} in it");
  const { repairTemplate, repairPlausibility } = options;
  const hint = hintIn(repairTemplate);
  require(!needs(repairTemplate, "sibling"), "--repair-template: expected {sibling} between {#sibling} and {/sibling}");
  require(hint === undefined ||
    repairPlausibility > 0, `--repair-template: expected --repair-plausibility above 0 too, as it shows ${hint}`);
  require(repairPlausibility === 0 ||
    tokenizer !== undefined, "--repair-plausibility: expected --tokenizer too: probabilities are those of tokens");
  require(options.critiqueTemplate.includes("{steps}"), "--critique-template: expected {steps} in it");
}

async function openTokenizer(directory: string, { chat = false }: EngineOptions): Promise<Tokenizer> {
  const { HuggingFaceTokenizer } = await import("../tokenizers/hugging-face.ts");
  const tokenizer = await HuggingFaceTokenizer.load(directory).catch(asUsage("--tokenizer"));
  if (chat && !tokenizer.hasChatTemplate) throw new UsageError(`--chat: expected a chat template in ${directory}`);
  return tokenizer;
}

async function engineOf(baseUrl: string, options: EngineOptions, tokenizer?: Tokenizer): Promise<CreditEngine> {
  const { RemoteSampler } = await import("../remote/remote-sampler.ts");
  const { codePoints } = await import("../tokenizers/code-points.ts");
  const {
    model = "",
    apiKeyEnv,
    identify = ["search"],
    concurrency,
    retries,
    temperature,
    stop,
    search: mode,
  } = options;
  const key = apiKeyEnv === undefined ? undefined : process.env[apiKeyEnv];
  const turns = new Turns(concurrency);
  const shared = { baseUrl, model, temperature, concurrency, retries, timeoutMs: 1000 * options.timeout, turns };
  const remote = { ...shared, ...(key !== undefined && { key }) };
  // What has no token ids of its own is sent and read as text.
  const asText = {
    encode: (text: string) => codePoints.encode(text),
    decode: (ids: readonly number[]) => codePoints.decode(ids),
    ...(stop.length > 0 && { stop }),
  };
  const measuring = new RemoteSampler(remote);
  return {
    sampler: (seed, unit) => new RemoteSampler({ ...remote, seed, ...(unit === "utf16" && asText) }),
    seed: options.seed,
    sources: identify.filter((source): source is CorrectionSource => source !== "siblings"),
    template: options.template,
    chat: options.chat === true,
    repairTemplate: options.repairTemplate,
    repairPlausibility: options.repairPlausibility,
    ...(options.repairPlausibility > 0 && { measure: (sequences) => measuring.measure(sequences) }),
    critiqueTemplate: options.critiqueTemplate,
    critiqueTokens: options.critiqueTokens,
    samples: options.samples,
    search: { mode, maxProbes: options.probes, samples: options.samples },
    maxTokens: options.maxTokens,
    ...(tokenizer !== undefined && stop.length > 0 && { stop: stop.map((text) => tokenOf(text, tokenizer)) }),
  };
}

/** What a report says of these options. */
export function engineSettings(options: EngineOptions): object {
  const { engine, model, verifier, tokenizer, identify, search, samples, probes, maxTokens, temperature, seed } =
    options;
  const { repairPlausibility } = options;
  if (engine === undefined) return { verifier, tokenizer };
  const asked = { identify, repairPlausibility, search, samples, probes, maxTokens, temperature, seed };
  return { verifier, tokenizer, engine, model, ...asked };
}

/** The one token that a text is. */
function tokenOf(text: string, tokenizer: Tokenizer): number {
  const ids = tokenizer.idOf(text) === undefined ? tokenizer.encode(text) : [tokenizer.idOf(text) as number];
  if (ids.length !== 1) {
    throw new UsageError(`--stop: expected a single token, received ${JSON.stringify(text)}, which is ${ids.length}`);
  }
  return ids[0];
}

const asUsage =
  (option: string) =>
  (error: unknown): never => {
    throw new UsageError(`${option}: ${(error as Error).message}`, { cause: error });
  };

function parseSources(text: string): readonly Source[] {
  const named = text.split(",");
  const known = named.filter((name): name is Source => sources.some((source) => source === name));
  if (known.length === named.length && new Set(known).size === known.length) return known;
  throw new InvalidArgumentError(`Expected some of ${sources.join(", ")}, each once, with commas.`);
}

function url(text: string): string {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text;
  throw new InvalidArgumentError("Expected a URL that begins with http:// or https://.");
}

function share(text: string): number {
  const value = finiteNumber(text);
  if (value >= 0 && value <= 1) return value;
  throw new InvalidArgumentError("Expected a number in 0 … 1.");
}

function seconds(text: string): number {
  const value = finiteNumber(text);
  if (value > 0 && value <= 86_400) return value;
  throw new InvalidArgumentError("Expected a number above 0, at most a day.");
}
