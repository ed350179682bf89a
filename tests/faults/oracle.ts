/**
 * Decides whether anything was lost, doubled or wrong: what the producer was told is in the topic, what the topic gives is in
 * every sink, and each of its records is in the bucket where the rules put it.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { sleep, until } from "../e2e/harness.ts";
import { endsOf, headerText, readFrom, type TopicRecord } from "../e2e/topic_reader.ts";
import type { PipelineStatus } from "../../pipeline/runtime/status.ts";
import type { Acknowledged } from "./acknowledged.ts";
import { type Aside, type Expectation, ReadBack, type Rows, type Rules } from "./expected.ts";
import { Findings } from "./findings.ts";
import { compareLake } from "./lake_tables.ts";
import { LiveReader } from "./live_reader.ts";
import type { MadeRecord } from "./records.ts";
import { compareRows, ResultDecoder, tableRows, TopicView } from "./results.ts";

/** How long results may take to be there after everything was read. */
const SETTLE_MS = 90_000;
const LOOK_MS = 250;

/** What the oracle asks; addresses may change when servers are started again. */
export interface Asked {
  readonly brokers: string;
  readonly registryUrl: string;
  readonly databaseUrl: string;
  /** The folder that the lake's tables are in. */
  readonly lake: string;
  status(pipeline: string): Promise<PipelineStatus>;
}

export interface OracleOptions {
  readonly folder: string;
  readonly topic: string;
  readonly brokers: string;
  readonly rules: readonly Rules[];
  readonly acknowledged: Acknowledged;
}

interface Watched {
  readonly rules: Rules;
  /** Read anew at each check, and while the faults happen. */
  readonly fresh: TopicView;
  readonly live: TopicView;
  readonly reader: LiveReader;
}

export class Oracle implements AsyncDisposable {
  readonly #options: OracleOptions;
  readonly #readBack: ReadBack;
  readonly #decoder = new ResultDecoder();
  /** What once seen cannot be made good. */
  readonly #standing = new Findings();
  readonly #positions = new Map<string, Map<number, number>>();
  readonly #seen = new Set<number>();
  readonly #aside = new Map<string, { record: TopicRecord; times: number }>();
  readonly #watched: Watched[];

  private constructor(options: OracleOptions, readBack: ReadBack) {
    this.#options = options;
    this.#readBack = readBack;
    this.#watched = options.rules.map((rules) => {
      const topic = resultsTopic(rules);
      const live = new TopicView("reader", this.#standing);
      return {
        rules,
        live,
        fresh: new TopicView("topic", this.#standing),
        reader: new LiveReader(options.brokers, topic, (record) => live.take(record)),
      };
    });
  }

  static async open(options: OracleOptions): Promise<Oracle> {
    return new Oracle(options, await ReadBack.open(`${options.folder}/read-back.csv`));
  }

  /** Records of the topic that were read back and judged. */
  get records(): number {
    return this.#readBack.count;
  }

  /** Records that the reader saw during the faults. */
  get seenLive(): number {
    return this.#watched.reduce((sum, { live }) => sum + live.records, 0);
  }

  /**
   * Compares everything with everything; nothing may be sent meanwhile. `make` gives the record of a number.
   *
   * @param asked.patienceMs how long results may take to be there
   */
  async check(asked: Asked, make: (n: number) => MadeRecord, { patienceMs = SETTLE_MS } = {}): Promise<Findings> {
    const end = performance.now() + patienceMs;
    for (;;) {
      const findings = await this.#compare(asked, make);
      // Late writes are on their way, or are not.
      if (findings.total === this.#standing.total || performance.now() > end) return findings;
      await sleep(LOOK_MS);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#watched.map(({ reader }) => reader[Symbol.asyncDispose]()));
    this.#readBack[Symbol.dispose]();
  }

  async #compare(asked: Asked, make: (n: number) => MadeRecord): Promise<Findings> {
    const findings = new Findings();
    const ends = await this.#readTopic(asked, make);
    for (const { partition, offset, n } of this.#options.acknowledged.missing()) {
      findings.note("lost", "broker", `the broker has not record ${n}, acknowledged at ${partition}/${offset}`);
    }
    await this.#readAside(asked);
    const aside: (Aside & { readonly pipeline: string })[] = [];
    const inTables: { readonly rules: Rules; readonly rows: Rows }[] = [];
    for (const { rules, fresh, live, reader } of this.#watched) {
      const expected = await this.#readBack.expect(rules);
      inTables.push({ rules, rows: expected.rows });
      aside.push(...expected.aside.map((one) => ({ ...one, pipeline: rules.pipeline })));
      compareStatus(await asked.status(rules.pipeline), { expected, ends, findings });
      compareRows(
        "table",
        expected.rows,
        await tableRows(asked.databaseUrl, rules.pipeline),
        findings,
      );
      const topic = resultsTopic(rules);
      for (const record of await this.#readOn(asked.brokers, topic)) fresh.take(record);
      const rows = await fresh.rows(asked.registryUrl, this.#decoder);
      compareRows("topic", expected.rows, rows, findings);
      const resultEnds = await endsOf(asked.brokers, topic);
      const caughtUp = await until("the reader has caught up", () => reader.hasReached(resultEnds), 90_000)
        .catch(() => false);
      const ends_ = [...resultEnds].map(([partition, end]) => `${partition}:${end}`).join(" ");
      if (!caughtUp) {
        findings.note("lost", "reader", `the reader of ${topic} stands at ${reader.positions} of ${ends_}`);
      }
      compareRows("reader", expected.rows, await live.rows(asked.registryUrl, this.#decoder), findings);
    }
    this.#compareAside(aside, make, findings);
    await compareLake({ lake: asked.lake, readBack: this.#readBack, expected: inTables, findings });
    findings.add(this.#standing);
    return findings;
  }

  /** Reads what is new in the topic and holds it against what was sent and acknowledged; returns where it ends. */
  async #readTopic({ brokers }: Asked, make: (n: number) => MadeRecord): Promise<Map<number, number>> {
    const { topic, acknowledged } = this.#options;
    const found: (MadeRecord & { offset: number; timestampMs: number })[] = [];
    for (const record of await this.#readOn(brokers, topic)) {
      const { partition, offset, timestampMs } = record;
      const n = Number(headerText(record, "n"));
      const made = make(n);
      const at = `record ${n} at ${partition}/${offset}`;
      if (acknowledged.found(partition, offset, n) === "another") {
        this.#standing.note("wrong", "broker", `the broker acknowledged another record than ${at}`);
      }
      if (this.#seen.has(n)) this.#standing.note("duplicated", "broker", `the broker has ${at} for a second time`);
      this.#seen.add(n);
      if (made.partition !== partition || !sameBytes(made.value, record.value) || !sameBytes(made.key, record.key)) {
        this.#standing.note("wrong", "broker", `the broker has ${at} with other bytes than were sent`);
      }
      found.push({ ...made, offset, timestampMs });
    }
    await this.#readBack.add(found);
    return this.#positions.get(topic)!;
  }

  async #readAside({ brokers }: Asked): Promise<void> {
    for (const why of ["late", "dead"]) {
      for (const record of await this.#readOn(brokers, `${this.#options.topic}.${why}`)) {
        const told = (name: string) => headerText(record, `__connect.errors.${name}`);
        const key = `${told("connector.name")} ${why} ${told("partition")}/${told("offset")}`;
        const known = this.#aside.get(key);
        if (known) known.times++;
        else this.#aside.set(key, { record, times: 1 });
      }
    }
  }

  #compareAside(
    expected: readonly (Aside & { readonly pipeline: string })[],
    make: (n: number) => MadeRecord,
    findings: Findings,
  ): void {
    const wanted = new Set<string>();
    for (const { pipeline, why, partition, offset, n } of expected) {
      const key = `${pipeline} ${why} ${partition}/${offset}`;
      wanted.add(key);
      const found = this.#aside.get(key);
      if (!found) {
        findings.note("lost", "late and dead", `${key} is not in ${this.#options.topic}.${why}`);
        continue;
      }
      const { value, key: recordKey, nature } = make(n);
      const isSame = nature === "bomb" ||
        (sameBytes(value, found.record.value) && sameBytes(recordKey, found.record.key));
      if (!isSame) findings.note("wrong", "late and dead", `${key} has other bytes than were sent`);
    }
    for (const [key, { times }] of this.#aside) {
      if (!wanted.has(key)) findings.note("wrong", "late and dead", `${key} was set aside for no reason`);
      else if (times > 1) findings.note("duplicated", "late and dead", `${key} was set aside ${times} times`);
    }
  }

  /** What is committed in a topic since the last time. */
  async #readOn(brokers: string, topic: string): Promise<TopicRecord[]> {
    const { records, ends } = await readFrom(brokers, topic, { from: this.#positions.get(topic), within: 60_000 });
    this.#positions.set(topic, ends);
    return records;
  }
}

function resultsTopic({ pipeline }: Rules): string {
  return pipeline.replaceAll("_", "-");
}

/** Positions and buckets: each record is accounted for once, in the right place. */
function compareStatus(
  status: PipelineStatus,
  { expected, ends, findings }: { expected: Expectation; ends: ReadonlyMap<number, number>; findings: Findings },
): void {
  for (const { partition, position } of status.partitions) {
    const end = ends.get(partition) ?? 0;
    if (position < end) {
      findings.note("lost", "ledger", `${status.name} has read ${partition} to ${position} of ${end}`);
    }
  }
  for (const [bucket, count] of Object.entries(expected.buckets)) {
    const told = (status.buckets as unknown as Record<string, number | undefined>)[bucket] ?? 0;
    const example = `${status.name} counts ${told} records as ${bucket}, expected ${count}`;
    if (told < count) findings.note("lost", "ledger", example);
    else if (told > count) findings.note("duplicated", "ledger", example);
  }
}

function sameBytes(a: Uint8Array | null, b: Uint8Array | null): boolean {
  if (a === null || b === null) return a === b;
  return a.length === b.length && Buffer.compare(a, b) === 0;
}
