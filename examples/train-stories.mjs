// A pretrained model learns from an outcome that a program checks: stories260K, from the beginnings of stories, is to end a
// story within its limit and to let a bird appear in it. The plain outcome method and IOP spend the same generated tokens.
//
//   npm run build
//   node examples/convert-llama2c.mjs stories260K.bin tok512.bin stories
//   node examples/train-stories.mjs stories [--seeds 2] [--budget 600000] [--json result.json]
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { completionOf, delimiter, evaluate, textTask, train, TransformerPolicy } from "../dist/index.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: "string", default: "2" },
    budget: { type: "string", default: "600000" },
    draws: { type: "string", default: "8" },
    json: { type: "string" },
  },
});
if (positionals.length !== 1) {
  console.error("usage: node examples/train-stories.mjs DIRECTORY [--seeds 2] [--budget 600000] [--draws 8]");
  process.exit(2);
}
const [directory] = positionals;
const budgetTokens = Number(values.budget);

const names = ["Lily", "Tom", "Anna", "Max", "Mia", "Ben", "Sara", "Tim", "Amy", "Sam"];
const openings = [
  (name) => `Once upon a time, there was a child named ${name}. ${name} liked to play`,
  (name) => `One day, ${name} went to the park with mom`,
  (name) => `${name} was very happy. It was a sunny day`,
  (name) => `${name} had a big red ball. One day`,
  (name) => `Once upon a time, ${name} found a box in the garden`,
  (name) => `${name} and a friend wanted to go outside`,
];
const beginnings = openings.flatMap((opening, o) =>
  names.map((name) => ({ id: `${name} ${o}`, prompt: opening(name), answer: "bird" })),
);

/** A fifth of the beginnings is held out. */
const [heldOut, training] = [0, 1].map((part) => beginnings.filter((_, i) => (i % 5 === 0) === (part === 0)));

const start = await TransformerPolicy.load(directory);
const { tokenizer } = start;
const end = tokenizer.idOf("<s>"); // the model was trained to begin the next story where one ends
const task = textTask({
  problems: training,
  tokenizer,
  segment: delimiter([".", "!", "?"].map((mark) => tokenizer.idOf(mark))), // a step is a sentence
  maxTokens: 256,
  stop: [end],
  seed: 1,
  verifier: { verify: (story, animal, finished) => (finished && new RegExp(`\\b${animal}s?\\b`).test(story) ? 1 : 0) },
});

const shared = {
  budgetTokens,
  problemsPerIteration: 16,
  groupSize: 8,
  temperature: 1,
  repair: false,
  lr: 2e-4,
  beta1: 0.9,
  beta2: 0.99,
  maxGradNorm: 1,
  epochs: 2,
  rowsPerBatch: 64,
  epsLow: 0.2,
  epsHigh: 0.2,
};
const methods = {
  outcome: { rule: "outcome" },
  iop: { rule: "contrast", search: { mode: "gallop", maxProbes: 2 } },
};

const problems = heldOut.map((problem) => task.encode(problem));
const draws = Number(values.draws); // sampled stories per beginning: one alone says little
const accuracyOf = async (policy) => {
  const repeated = Array.from({ length: draws }, () => problems).flat();
  const result = await evaluate(task, repeated, policy.sampler({ seed: 1, temperature: 1 }));
  const { trees } = result;
  const ended = trees.filter((tree) => completionOf(tree, 0).at(-1) === end).length / trees.length;
  const birds =
    trees.filter((tree) => /\bbirds?\b/.test(tokenizer.decode(completionOf(tree, 0)))).length / trees.length;
  const story = ({ problem }, i) =>
    tokenizer.decode(problem.prompt) + "|" + tokenizer.decode(completionOf(trees[i], 0));
  return { accuracy: result.accuracy, ended, birds, stories: trees.slice(0, 3).map(story) };
};

const before = await accuracyOf(start);
const say = (label, { accuracy, ended, birds }) =>
  console.log(`${label}: right ${accuracy.toFixed(3)} (ended ${ended.toFixed(3)}, with a bird ${birds.toFixed(3)})`);
say("before", before);
const runs = [];
for (let seed = 0; seed < Number(values.seeds); seed++) {
  for (const [method, settings] of Object.entries(methods)) {
    const policy = start.clone();
    const curve = [[0, before.accuracy]];
    let spent = 0;
    for await (const { metrics } of train(policy, task, { ...shared, ...settings, seed })) {
      spent = metrics.tokens;
      if (spent - curve.at(-1)[0] < budgetTokens / 8) continue;
      curve.push([spent, (await accuracyOf(policy)).accuracy]);
      console.log(`  ${method} seed ${seed}: ${spent} tokens, right ${curve.at(-1)[1].toFixed(3)}`);
    }
    const after = await accuracyOf(policy);
    curve.push([spent, after.accuracy]);
    say(`${method} seed ${seed} after ${spent} tokens`, after);
    runs.push({ method, seed, curve, after });
  }
}
console.log(`\nbefore:\n${before.stories.join("\n\n")}`);
for (const { method, after } of runs.slice(0, 2)) console.log(`\nafter ${method}:\n${after.stories.join("\n\n")}`);
if (values.json !== undefined)
  writeFileSync(values.json, `${JSON.stringify({ shared, methods, before, runs }, null, 2)}\n`);
