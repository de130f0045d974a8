// Recorded GSM8K solutions with their verdicts, as rollouts for `stepcredit credit`:
//
//   node examples/gsm8k-to-rollouts.mjs model_solutions.jsonl rollouts.jsonl
//   npx stepcredit credit rollouts.jsonl --out credits.jsonl
//
// INPUT is the file of model solutions of github.com/openai/grade-school-math: one problem per line,
// { question, ground_truth, <model>: { is_correct, solution }, ... }.
import { readFileSync, writeFileSync } from "node:fs";

const [input, output, ...rest] = process.argv.slice(2);
if (output === undefined || rest.length > 0) {
  console.error("usage: node examples/gsm8k-to-rollouts.mjs INPUT OUTPUT");
  process.exit(2);
}

function problemOf(line, number) {
  const { question, ground_truth, ...models } = JSON.parse(line);
  return {
    id: `gsm8k-${number}`,
    prompt: question,
    // Its last line is "A: 18".
    answer: ground_truth
      .trimEnd()
      .split("\n")
      .at(-1)
      .replace(/^(A:|####)\s*/, ""),
    rollouts: Object.entries(models).map(([model, { solution, is_correct }]) => ({
      model,
      text: solution,
      reward: is_correct ? 1 : 0,
    })),
  };
}

const problems = readFileSync(input, "utf8")
  .split("\n")
  .flatMap((line, index) => (line.trim() === "" ? [] : [problemOf(line, index + 1)]));
writeFileSync(output, problems.map((problem) => `${JSON.stringify(problem)}\n`).join(""));
console.log(
  `${problems.length} problems, ${problems.reduce((sum, { rollouts }) => sum + rollouts.length, 0)} rollouts`,
);
