import { setAsideTopics } from "../../pipeline/sinks/set_aside.ts";
import { headerOf, type ResultReader, Violation } from "./checks.ts";
import { raisesOf, type Saved } from "./lineage.ts";
import { judge, type Rules, sumPanes } from "./oracle.ts";
import { TOPIC } from "./plans.ts";
import { rowOf } from "./result_values.ts";
import type { SimKafka } from "./sim_kafka.ts";
import type { SimPostgres } from "./sim_postgres.ts";
import type { SourcePartition } from "./source_log.ts";

/** The end of a run: every output says what the oracle says. @throws Violation telling the first that does not */
export function compareWithOracle(
  last: Saved,
  results: ResultReader,
  { rules, source, postgres, kafka }: {
    readonly rules: Rules;
    readonly source: readonly SourcePartition[];
    readonly postgres: SimPostgres;
    readonly kafka: SimKafka;
  },
): void {
  const raises = raisesOf(last);
  const saved = new Map(last.checkpoint.partitions.map((partition) => [partition.partition, partition]));
  const judged = source.map(({ told, end }, partition) => {
    const { position, buckets } = saved.get(partition)!;
    if (position !== end) throw new Violation(`partition ${partition} was read to ${position} of ${end}`);
    const judged = judge(told, rules, { raises: raises.get(partition) ?? [], until: end });
    same(`the ledger of partition ${partition}`, buckets, judged.buckets);
    return judged;
  });
  const panes = sumPanes(judged);
  const wanted = new Map([...panes].map(([key, { k, startMs, n, total }]) => [
    key,
    [k, startMs, startMs + rules.windowMs, n, String(total), n, true],
  ]));
  same("postgres", sorted(postgres.rows), sorted(wanted));
  const newest = [...results.newest].map(([key, { record }]) => [key, rowOf(record.value!)] as const);
  same("the newest results in the topic", sorted(newest), sorted(wanted));
  for (const [key, finals] of results.finals) {
    const back = panes.get(key)!.back;
    if (finals - 1 > back) {
      throw new Violation(`${key} was final ${finals} times, but ${back} of its records came back`);
    }
  }
  const aside = (name: "late" | "dead") =>
    kafka.topic(setAsideTopics(TOPIC)[name]).flatMap((entries) =>
      entries.flatMap(({ record, state }) =>
        record === null || state !== "committed"
          ? []
          : [`${headerOf(record, "__connect.errors.partition")}/${headerOf(record, "__connect.errors.offset")}`]
      )
    ).sort();
  for (const name of ["late", "dead"] as const) {
    const expected = judged.flatMap(({ aside }, partition) =>
      [...aside].flatMap(([offset, why]) => why === name ? [`${partition}/${offset}`] : [])
    );
    same(`the topic of ${name} records`, aside(name), expected.sort());
  }
}

function sorted(entries: Iterable<readonly [string, unknown]>): unknown[] {
  return [...entries].sort(([a], [b]) => a < b ? -1 : 1);
}

function same(what: string, actual: unknown, expected: unknown): void {
  if (JSON.stringify(actual) === JSON.stringify(expected)) return;
  if (Array.isArray(actual) && Array.isArray(expected)) {
    const lines = (list: unknown[]) => new Set(list.map((one) => JSON.stringify(one)));
    const [has, wants] = [lines(actual), lines(expected)];
    const extra = [...has].filter((line) => !wants.has(line));
    const missing = [...wants].filter((line) => !has.has(line));
    const repeated = actual.length - has.size;
    throw new Violation(
      `${what}: not wanted ${extra.slice(0, 5)}; missing ${missing.slice(0, 5)}; repeated ${repeated}`,
    );
  }
  throw new Violation(`${what}: ${JSON.stringify(actual)}, wanted ${JSON.stringify(expected)}`);
}
