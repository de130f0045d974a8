/** The process of one subject: checks it, times it, sends what it found. */

import type { BenchEnvironment, BenchRecord } from "../test/support/timing.ts";
import { allSubjects } from "./subjects.ts";

export interface SubjectRequest {
  readonly name: string;
  readonly threads: number;
  readonly peers: boolean;
  readonly env: BenchEnvironment;
}

/** What is wrong with the op, or its record. */
export type SubjectReport = { readonly wrong: readonly string[] } | { readonly record: BenchRecord };

if (process.send !== undefined) {
  const request = JSON.parse(process.argv[2]) as SubjectRequest;
  const subject = allSubjects.find(({ name }) => name === request.name);
  if (subject === undefined) throw new Error(`bench: expected the name of a subject, received ${request.name}`);
  const wrong = await subject.check();
  const report: SubjectReport = wrong.length > 0 ? { wrong } : { record: await subject.measure(request) };
  process.send(report);
  process.disconnect();
}
