/**
 * `deno task faults`: does to a running Tailrace what must not matter, and compares what comes out with what must.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { FaultRun, type Kind, NotExactError } from "./kind.ts";
import { KINDS } from "./kinds/mod.ts";

const USAGE = `Usage: deno task faults [OPTIONS]

  --kind KIND[,KIND]  only these
  --count N           faults of each kind, instead of what a full run has
  --seed S            repeats a run; a number
  --short             a few of each, about 4 minutes
  --jobs N            kinds at the same time; 1, with --short 2
  --project DIR       test the Tailrace of another checkout
  --list              the kinds

Exit codes: 0 nothing was lost, doubled or wrong; 1 something was; 2 an option is wrong.`;
const PROGRESS_EVERY_MS = 5_000;

interface Outcome {
  readonly kind: Kind;
  readonly run: FaultRun;
  readonly seconds: number;
  /** Why it ended early, in words; null when it did not. */
  readonly failure: string | null;
}

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      kind: { type: "string" },
      count: { type: "string" },
      seed: { type: "string" },
      short: { type: "boolean", default: false },
      jobs: { type: "string" },
      project: { type: "string" },
      list: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  if (values.list) {
    for (const { name, what, counts } of KINDS) {
      console.log(`${name.padEnd(16)} ${String(counts.full).padStart(6)}  ${what}`);
    }
    return 0;
  }
  const names = values.kind?.split(",") ?? KINDS.map(({ name }) => name);
  const unknown = names.filter((name) => !KINDS.some((kind) => kind.name === name));
  const count = values.count === undefined ? undefined : Number(values.count);
  const seed = values.seed === undefined ? crypto.getRandomValues(new Uint32Array(1))[0] : Number(values.seed);
  const jobs = Number(values.jobs ?? (values.short ? 2 : 1));
  if (unknown.length > 0 || !(count === undefined || count > 0) || !Number.isSafeInteger(seed) || !(jobs >= 1)) {
    console.error(unknown.length > 0 ? `There is no kind ${unknown.join(", ")}.\n\n${USAGE}` : USAGE);
    return 2;
  }
  console.log(`seed ${seed}`);
  const began = performance.now();
  const kinds = KINDS.filter(({ name }) => names.includes(name));
  const outcomes: Outcome[] = [];
  const waiting = kinds.values();
  await Promise.all(Array.from({ length: jobs }, async () => {
    for (const kind of waiting) {
      outcomes.push(await runKind(kind, { count, seed, short: values.short, project: values.project }));
    }
  }));
  outcomes.sort((a, b) => kinds.indexOf(a.kind) - kinds.indexOf(b.kind));
  printTable(outcomes);
  const failed = outcomes.filter(({ run, failure }) => failure !== null || run.findings.total > 0);
  for (const { kind, run, failure } of failed) {
    console.log(`\n${kind.name}: ${failure ?? `${run.findings.total} things are not as they must be`}`);
    for (const line of run.findings.describe()) console.log(`  ${line}`);
    const again = [
      `deno task faults --kind ${kind.name} --seed ${seed}`,
      ...(count === undefined ? [] : [`--count ${count}`]),
      ...(values.short ? ["--short"] : []),
      ...(values.project ? [`--project ${values.project}`] : []),
    ];
    console.log(`  repeat it: ${again.join(" ")}`);
  }
  // As tests tell it, so that whoever sums them up counts these too.
  const [passed, took] = [outcomes.length - failed.length, ((performance.now() - began) / 1000).toFixed(0)];
  console.log(`\n${failed.length > 0 ? "FAILED" : "ok"} | ${passed} passed | ${failed.length} failed (${took}s)`);
  return failed.length > 0 ? 1 : 0;
}

async function runKind(
  kind: Kind,
  { count, seed, short, project }: { count?: number; seed: number; short: boolean; project?: string },
): Promise<Outcome> {
  const began = performance.now();
  const seconds = () => (performance.now() - began) / 1000;
  let told = -Infinity;
  const run = new FaultRun({
    kind: kind.name,
    count: count ?? (short ? kind.counts.short : kind.counts.full),
    seed,
    short,
    project,
    onProgress: (text) => {
      if (performance.now() - told < PROGRESS_EVERY_MS) return;
      told = performance.now();
      console.log(`  ${kind.name}: ${text} (${Math.round(seconds())} s)`);
    },
  });
  console.log(`  ${kind.name}: ${kind.what}`);
  let failure: string | null = null;
  try {
    await kind.run(run);
    if (run.recovered < run.injected) failure = `${run.injected - run.recovered} faults were not recovered from`;
  } catch (error) {
    failure = error instanceof NotExactError ? error.message : (error as Error).stack ?? String(error);
  }
  const remarks = run.remarks.map((remark) => `; ${remark}`).join("");
  console.log(`  ${kind.name}: ${failure === null ? "ok" : "FAILED"} in ${seconds().toFixed(0)} s${remarks}`);
  return { kind, run, seconds: seconds(), failure };
}

function printTable(outcomes: readonly Outcome[]): void {
  const heads = ["kind", "injected", "recovered", "lost", "duplicated", "wrong", "slowest recovery", "records", "took"];
  const rows = outcomes.map(({ kind, run, seconds }) => [
    kind.name,
    ...[run.injected, run.recovered, run.findings.lost, run.findings.duplicated, run.findings.wrong].map(String),
    `${(run.slowestMs / 1000).toFixed(1)} s`,
    String(run.records),
    `${seconds.toFixed(0)} s`,
  ]);
  const widths = heads.map((head, i) => Math.max(head.length, ...rows.map((row) => row[i].length)));
  const line = (cells: string[]) =>
    cells.map((cell, i) => i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])).join("  ");
  console.log(`\n${[line(heads), ...rows.map(line)].join("\n")}`);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
