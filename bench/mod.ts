/**
 * `tailrace bench`: how fast this machine does it. Every case checks what it counted; figures of one run compare with each
 * other, not with those of another machine or hour.
 *
 * @module
 */
import type { Call } from "../cli/call.ts";
import { table } from "../cli/table.ts";
import { ConfigError, type Fault } from "../pipeline/errors.ts";
import { archive } from "./cases/archive.ts";
import { archiveDrain } from "./cases/archive_drain.ts";
import { cassandraCase } from "./cases/cassandra.ts";
import { checkpoints } from "./cases/checkpoints.ts";
import { decode } from "./cases/decode.ts";
import { drain } from "./cases/drain.ts";
import { readFiles } from "./cases/files.ts";
import { fold } from "./cases/fold.ts";
import { forward } from "./cases/forward.ts";
import { httpPollCase } from "./cases/http_poll.ts";
import { ingestCase } from "./cases/ingest.ts";
import { jsonFilesCase } from "./cases/json_files.ts";
import { lakeQuery } from "./cases/lake_query.ts";
import { lakeWrite } from "./cases/lake_write.ts";
import { live } from "./cases/live.ts";
import { postgresChangesCase } from "./cases/postgres_changes.ts";
import { postgresRaw } from "./cases/postgres_raw.ts";
import { readRows } from "./cases/postgres_rows.ts";
import { produce } from "./cases/produce.ts";
import { webhookCase } from "./cases/webhook.ts";
import type { Measured } from "./measure.ts";
import { type Servers, startServers } from "./servers.ts";

/** A billion an hour is 277,778 a second; the little more makes up for the start and the end. */
const RATE = 280_000;
const SECONDS = 60;

interface Settings {
  readonly rate: number;
  readonly seconds: number;
  /** Of the lake's cases; as many as they have unless told. */
  readonly rows?: number;
  readonly python?: string;
  readonly spark?: string;
  readonly cassandra?: string;
  readonly javaDriver?: string;
  readonly sparkConnector?: string;
}

type Cases = Readonly<
  Record<string, (servers: () => Promise<Servers>, settings: Settings) => Promise<Measured> | Measured>
>;

const CASES: Cases = {
  decode: () => decode(),
  fold: () => fold(),
  produce: async (servers) => await produce(await servers()),
  drain: async (servers) => await drain(await servers()),
  live: async (servers, settings) => await live(await servers(), settings),
  checkpoints: async (servers, settings) => await checkpoints(await servers(), settings),
  archive: async (servers, settings) => await archive(await servers(), settings),
  "archive-drain": async (servers) => await archiveDrain(await servers()),
  "lake-write": (_, settings) => lakeWrite(settings),
  "lake-query": async (servers, settings) => await lakeQuery(await servers(), settings),
};

/** Run only when named: sources and destinations, one by one. */
const NAMED_CASES: Cases = {
  forward: async (servers) => await forward(await servers()),
  "postgres-raw": async (servers) => await postgresRaw(await servers()),
  "http-poll": () => httpPollCase(),
  ingest: async (servers) => await ingestCase(await servers()),
  cassandra: (_, settings) => cassandraCase(settings),
  webhook: async (servers) => await webhookCase(await servers()),
  files: (_, settings) => readFiles(settings),
  "postgres-rows": async (servers, settings) => await readRows((await servers()).databaseUrl, settings),
  "json-files": async (servers) => await jsonFilesCase(await servers()),
  "postgres-changes": async (servers) => await postgresChangesCase(await servers()),
};

const ALL_CASES: Cases = { ...CASES, ...NAMED_CASES };

/** Runs the cases and prints a line of JSON for each, then a table. */
export async function bench({ flags, log, signal }: Call): Promise<number> {
  const faults: Fault[] = [];
  const number = (flag: string, fallback: number) => {
    const value = Number(flags[flag] ?? fallback);
    if (!(value > 0)) faults.push({ where: `--${flag}`, problem: "must be a number above 0" });
    return value;
  };
  const settings: Settings = {
    rate: number("rate", RATE),
    seconds: number("seconds", SECONDS),
    ...(flags.rows ? { rows: number("rows", 0) } : {}),
    ...(flags.python ? { python: flags.python } : {}),
    ...(flags.spark ? { spark: flags.spark } : {}),
    ...(flags.cassandra ? { cassandra: flags.cassandra } : {}),
    ...(flags["java-driver"] ? { javaDriver: flags["java-driver"] } : {}),
    ...(flags["spark-connector"] ? { sparkConnector: flags["spark-connector"] } : {}),
  };
  // A rate is about the live case.
  const names = flags.case ? [flags.case] : flags.rate ? ["live"] : Object.keys(CASES);
  if (!(names[0] in ALL_CASES)) {
    faults.push({ where: "--case", problem: `must be one of ${Object.keys(ALL_CASES).join(", ")}` });
  }
  if (faults.length > 0) throw new ConfigError(faults);
  const brokers = flags.brokers?.split(",") ?? [];
  await using parts = new AsyncDisposableStack();
  let started: Promise<Servers> | null = null;
  const servers = () =>
    started ??= startServers(brokers, { databaseUrl: flags.database }).then((running) => parts.use(running));
  const results: Measured[] = [];
  for (const name of names) {
    if (signal.aborted) break;
    log.info(`measuring ${name}`);
    const measured = await ALL_CASES[name](servers, settings);
    results.push(measured);
    console.log(JSON.stringify(measured));
  }
  console.log("\n" + tableOf(results));
  return 0;
}

function tableOf(results: readonly Measured[]): string {
  const head = ["case", "records", "seconds", "records/s", "cpu s", "peak MB", ""];
  const rows = results.map(({ name, records, seconds, rec_per_s, cpu_s, peak_rss_mb, ...details }) => [
    name,
    records.toLocaleString("en"),
    seconds.toFixed(2),
    rec_per_s.toLocaleString("en"),
    cpu_s.toFixed(2),
    String(peak_rss_mb),
    Object.entries(details).map(([detail, value]) => `${detail} ${value}`).join(", "),
  ]);
  return table(head, rows, { numbers: [1, 2, 3, 4, 5] });
}
