/**
 * Compares what topics and destinations hold with what the other sides had.
 *
 * @module
 */
import { avroType, type AvroValues } from "../../../pipeline/codec/avro_values.ts";
import { FRAME_BYTES } from "../../../pipeline/codec/framing.ts";
import type { ConnectorCounts } from "../../../pipeline/runtime/connector_status.ts";
import { createDiskStore } from "../../../pipeline/sinks/lake/disk_store.ts";
import { headerText, readTopic, type TopicRecord } from "../../e2e/topic_reader.ts";
import { readFiles } from "../../sinks/files/read_files.ts";
import { Findings, type Place } from "../findings.ts";
import { type Others, REFUSED_BATTERY } from "./others.ts";

type Value = Readonly<Record<string, string | number | null>>;
type Read = TopicRecord & { readonly at: string; readonly row: Value };

/** A topic and the schema in schemas/ that it has. */
const TOPICS = {
  profiles: "user_profile",
  profile_events: "user_profile",
  items: "product",
  payments: "transaction",
  readings: "sensor_reading",
} as const;
type Name = keyof typeof TOPICS;
/** Sources that can reject. */
const REJECTING = ["items", "payments", "readings"] as const;
const DELIVERIES = { items_raw: "items", payments_files: "payments", readings_hook: "readings" } as const;

export interface Compared {
  readonly findings: Findings;
  readonly records: number;
  /** How much there was of each, for people. */
  readonly told: string;
}

/** Compares everything. Nothing may be under way any more. */
export async function compare(
  others: Others,
  { brokers, dataDir, counts }: {
    readonly brokers: string;
    readonly dataDir: string;
    readonly counts: ReadonlyMap<string, ConnectorCounts>;
  },
): Promise<Compared> {
  const findings = new Findings();
  const names = Object.keys(TOPICS) as Name[];
  const [topics, rejected, dead] = await Promise.all([
    Promise.all(names.map(async (name) => [name, await readRows(brokers, name)] as const)),
    Promise.all(REJECTING.map(async (name) => [name, await readTopic(brokers, `${name}.rejected`)] as const)),
    readTopic(brokers, "readings.dead"),
  ]);
  const rows = new Map<Name, readonly Read[]>(topics);
  const aside = new Map<string, readonly TopicRecord[]>(rejected);
  const of = (name: Name) => rows.get(name)!;

  const good = others.feed.events.filter((data) => data.startsWith("{")).map((data) => JSON.parse(data).site);
  once(findings, "feed", { there: of("readings").map(({ row }) => String(row.site)), wanted: good });
  once(findings, "files", {
    there: of("payments").map(({ row }) => `${row.transaction_id} ${row.merchant}`),
    wanted: [...others.lines].map(([id, merchant]) => `${id} ${merchant}`),
  });
  const changes = others.api.changes.map(({ id, name }) => `${id} ${name}`);
  once(findings, "API's events", { there: of("profile_events").map(profile), wanted: changes });
  lastOf(findings, "API's users", { there: of("profiles").map(profile), committed: changes });
  const history = await others.rows("SELECT id, name, is_bad FROM faults.history ORDER BY substr(name, 2)::int");
  const fit = history.filter(({ is_bad }) => !is_bad).map(({ id, name }) => `${id} ${name}`);
  lastOf(findings, "table", { there: of("items").map(({ row }) => `${row.id} ${row.name}`), committed: fit });

  const bad = {
    items: history.length - fit.length,
    payments: others.badLines,
    readings: others.feed.events.length - good.length,
  };
  for (const name of REJECTING) {
    const wheres = aside.get(name)!.map((record) => headerText(record, "tailrace.where") ?? "");
    // Of a feed only the connection is named, so what was rejected tells by itself.
    const told = name === "readings" ? aside.get(name)!.map(({ value }) => new TextDecoder().decode(value!)) : wheres;
    const twice = told.length - new Set(told).size;
    if (twice > 0) findings.note("duplicated", "late and dead", `${twice} rejections of ${name}`);
    if (told.length !== bad[name]) {
      findings.note("wrong", "late and dead", `${told.length} rejections of ${name} instead of ${bad[name]}`);
    }
  }

  await compareRaw(findings, others, of("items"));
  await compareFiles(findings, `${dataDir}/files/payments`, of("payments"));
  const taken = of("readings").filter(({ row }) => row.battery !== REFUSED_BATTERY);
  comparePosts(findings, others, taken);
  once(findings, "dead letters of the webhook", {
    there: dead.map((letter) =>
      `${headerText(letter, "__connect.errors.partition")}/${headerText(letter, "__connect.errors.offset")}`
    ),
    wanted: of("readings").filter(({ row }) => row.battery === REFUSED_BATTERY).map(({ at }) => at),
  });

  for (const name of names) {
    ledger(findings, name, { counts, written: of(name).length, rejected: aside.get(name)?.length ?? 0 });
  }
  for (const [name, topic] of Object.entries(DELIVERIES)) {
    const letters = name === "readings_hook" ? dead.length : 0;
    ledger(findings, name, { counts, written: of(topic).length - letters, rejected: letters });
    if (counts.get(name)?.skipped !== 0) findings.note("wrong", "ledger", `${name} skipped records`);
  }
  const amounts = [...topics, ...rejected.map(([name, { length }]) => [`${name}.rejected`, { length }] as const)];
  return {
    findings,
    records: topics.reduce((sum, [, read]) => sum + read.length, 0),
    told: [...amounts, ["readings.dead", dead] as const].map(([name, { length }]) => `${length} ${name}`).join(", "),
  };
}

function profile({ row }: Read): string {
  return `${row.user_id} ${row.name}`;
}

async function readRows(brokers: string, topic: Name): Promise<Read[]> {
  const schema = await Deno.readTextFile(new URL(`../../../schemas/${TOPICS[topic]}.avsc`, import.meta.url));
  const values: AvroValues = avroType(JSON.parse(schema));
  return (await readTopic(brokers, topic)).map((record) => ({
    ...record,
    at: `${record.partition}/${record.offset}`,
    row: values.decodeToJson(record.value!.subarray(FRAME_BYTES)) as Value,
  }));
}

/** Everything wanted is there once, and nothing else. */
function once(
  findings: Findings,
  what: string,
  { there, wanted, place = "topic" }: {
    readonly there: readonly string[];
    readonly wanted: readonly string[];
    readonly place?: Place;
  },
): void {
  const times = new Map<string, number>();
  for (const one of there) times.set(one, (times.get(one) ?? 0) + 1);
  for (const one of wanted) {
    const count = times.get(one) ?? 0;
    if (count === 0) findings.note("lost", place, `${what}: ${one}`);
    if (count > 1) findings.note("duplicated", place, `${what}: ${one}, ${count} times`);
    times.delete(one);
  }
  for (const one of times.keys()) findings.note("wrong", place, `${what}: ${one} was never there`);
}

/** Of what was `committed`, in order, each thing's last state is there, and none twice, in the order it came. */
function lastOf(
  findings: Findings,
  what: string,
  { there, committed }: { readonly there: readonly string[]; readonly committed: readonly string[] },
): void {
  const places = new Map(committed.map((one, place) => [one, place]));
  const last = new Map(committed.map((one) => [one.split(" ")[0], one]));
  const newest = new Map<string, string>();
  const seen = new Set<string>();
  for (const one of there) {
    const [id] = one.split(" ");
    if (seen.has(one)) findings.note("duplicated", "topic", `${what}: ${one}`);
    if (!places.has(one)) findings.note("wrong", "topic", `${what}: ${one} was never committed`);
    const before = newest.get(id);
    if (before !== undefined && places.get(before)! > places.get(one)!) {
      findings.note("wrong", "topic", `${what}: ${one} came after ${before}`);
    }
    seen.add(one);
    newest.set(id, one);
  }
  for (const [id, one] of last) {
    if (newest.get(id) !== one) findings.note("lost", "topic", `${what}: ${one}, the last is ${newest.get(id)}`);
  }
}

async function compareRaw(findings: Findings, others: Others, items: readonly Read[]): Promise<void> {
  const rows = await others.rows("SELECT kafka_partition, kafka_offset, id, name FROM faults.items_raw");
  once(findings, "table of records", {
    there: rows.map((row) => `${row.kafka_partition}/${row.kafka_offset} ${row.id} ${row.name}`),
    wanted: items.map(({ at, row }) => `${at} ${row.id} ${row.name}`),
    place: "table",
  });
}

async function compareFiles(findings: Findings, folder: string, payments: readonly Read[]): Promise<void> {
  try {
    const { lines } = await readFiles(createDiskStore({ folder }));
    once(findings, "JSON files", {
      there: lines.map((line) => `${line.kafka_partition}/${line.kafka_offset} ${line.transaction_id}`),
      wanted: payments.map(({ at, row }) => `${at} ${row.transaction_id}`),
      place: "behaviour",
    });
  } catch (error) {
    findings.note("wrong", "behaviour", `JSON files: ${(error as Error).message}`);
  }
}

/** A receiver that leaves out what is not behind the last offset of its partition has each record once; a key is of one body. */
function comparePosts(findings: Findings, { receiver }: Others, readings: readonly Read[]): void {
  const texts = new Map<string, string>();
  for (const { key, text } of receiver.requests) {
    if ((texts.get(key) ?? text) !== text) findings.note("wrong", "behaviour", `webhook: ${key} came with two bodies`);
    texts.set(key, text);
  }
  const last = new Map<number, number>();
  const there: string[] = [];
  for (const { body: { partition, records } } of receiver.taken) {
    for (const { offset, value } of records as readonly { readonly offset: number; readonly value: Value }[]) {
      if (offset <= (last.get(partition) ?? -1)) continue;
      last.set(partition, offset);
      there.push(`${partition}/${offset} ${value.site}`);
    }
  }
  once(findings, "webhook", {
    there,
    wanted: readings.map(({ at, row }) => `${at} ${row.site}`),
    place: "behaviour",
  });
}

function ledger(
  findings: Findings,
  name: string,
  { counts, written, rejected }: {
    readonly counts: ReadonlyMap<string, ConnectorCounts>;
    readonly written: number;
    readonly rejected: number;
  },
): void {
  const told = counts.get(name);
  const adds = told && told.read === told.written + told.rejected + told.skipped;
  if (adds && told.written === written && told.rejected === rejected) return;
  findings.note("wrong", "ledger", `${name}: ${JSON.stringify(told)}, and there are ${written} and ${rejected} aside`);
}
