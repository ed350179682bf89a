/**
 * Result rows as each sink shows them, read by clients that share nothing with the pipeline.
 *
 * @module
 */
import avsc from "avsc";
import { postgresClient } from "../../pipeline/postgres_client.ts";
import { headerText, type TopicRecord } from "../e2e/topic_reader.ts";
import type { Row, Rows } from "./expected.ts";
import type { Findings, Place } from "./findings.ts";

/** A revision is the generation times this, and the number of records in the row. */
const GENERATION = 1e12;

/** A row with its revision. */
export interface SeenRow extends Row {
  readonly revision: number;
}

export type SeenRows = Map<string, SeenRow>;

export async function tableRows(databaseUrl: string, table: string): Promise<SeenRows> {
  const sql = postgresClient(databaseUrl, { connect_timeout: 60 });
  try {
    const rows = await sql.unsafe(`
      SELECT account_id, (extract(epoch from window_start) * 1000)::bigint::text, n::float8, (total * 100)::float8,
        mean::float8, (largest * 100)::float8, revision::float8, final FROM ${table}`).values();
    return new Map(rows.map(([account, window, n, totalCents, mean, largestCents, revision, final]) => [
      `${account} ${window}`,
      { n, totalCents, mean, largestCents, revision, final },
    ]));
  } finally {
    await sql.end({ timeout: 2 });
  }
}

/** Reads results in Avro, by the schemas that the registry has. */
export class ResultDecoder {
  readonly #types = new Map<number, avsc.Type>();

  async decode(registryUrl: string, { value }: TopicRecord): Promise<{ key: string; row: SeenRow }> {
    const id = new DataView(value!.buffer, value!.byteOffset).getInt32(1);
    let type = this.#types.get(id);
    if (!type) {
      const answer = await (await fetch(`${registryUrl}/schemas/ids/${id}`)).json();
      this.#types.set(id, type = avsc.Type.forSchema(JSON.parse(answer.schema)));
    }
    const { account_id, window_start, n, total, mean, largest, revision, final } = type.fromBuffer(
      value!.subarray(5) as never,
    );
    const row = { n, totalCents: unscaled(total), mean, largestCents: unscaled(largest), revision, final };
    return { key: `${account_id} ${window_start}`, row };
  }
}

/** A decimal's unscaled value from its big-endian two's complement. */
function unscaled(bytes: Uint8Array): number {
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return Number(BigInt.asIntN(8 * bytes.length, value));
}

/** What a reader of committed results has seen: the newest of each key and window, and what it should not have seen. */
export class TopicView {
  /** Highest (revision, final) by key and window. */
  readonly #newest = new Map<string, { readonly rank: number; readonly record: TopicRecord }>();
  readonly #place: Place;
  readonly #findings: Findings;
  records = 0;

  constructor(place: Place, findings: Findings) {
    this.#place = place;
    this.#findings = findings;
  }

  /** Takes the next record of a partition; key and window always fall into the same one. */
  take(record: TopicRecord): void {
    this.records++;
    const text = (name: string) => headerText(record, name);
    const key = `${new TextDecoder().decode(record.key ?? new Uint8Array())} ${text("window_start")}`;
    const rank = 2 * Number(text("revision")) + (text("final") === "true" ? 1 : 0);
    const before = this.#newest.get(key);
    const told = () =>
      `${key} revision ${text("revision")} final ${text("final")} at ${record.partition}/${record.offset}`;
    if (before === undefined || rank > before.rank) this.#newest.set(key, { rank, record });
    else if (rank === before.rank) {
      this.#findings.note("duplicated", this.#place, `${told()} was at ${before.record.offset} already`);
    } else {
      this.#findings.note("wrong", this.#place, `${told()} is older than what came before at ${before.record.offset}`);
    }
  }

  async rows(registryUrl: string, decoder: ResultDecoder): Promise<SeenRows> {
    const rows: SeenRows = new Map();
    for (const [key, { record, rank }] of this.#newest) {
      const decoded = await decoder.decode(registryUrl, record);
      const agrees = decoded.key === key && 2 * decoded.row.revision + Number(decoded.row.final) === rank;
      if (!agrees) this.#findings.note("wrong", this.#place, `${key}: headers and value differ`);
      rows.set(key, decoded.row);
    }
    return rows;
  }
}

/** Compares what a sink shows with what is expected. */
export function compareRows(place: Place, expected: Rows, seen: SeenRows, findings: Findings): void {
  for (const [key, row] of expected) {
    const actual = seen.get(key);
    const told = `${key}: ${actual ? describe(actual) : "absent"}, expected ${describe(row)}`;
    if (!actual || actual.n < row.n) findings.note("lost", place, told);
    else if (actual.n > row.n) findings.note("duplicated", place, told);
    else if (
      actual.totalCents !== row.totalCents || actual.mean !== row.mean || actual.largestCents !== row.largestCents ||
      actual.final !== row.final || actual.revision % GENERATION !== row.n
    ) findings.note("wrong", place, told);
  }
  for (const [key, row] of seen) {
    if (!expected.has(key)) findings.note("wrong", place, `${key}: ${describe(row)}, which nothing gives`);
  }
}

function describe(row: Row & { readonly revision?: number }): string {
  return `n ${row.n} total ${row.totalCents} mean ${row.mean} largest ${row.largestCents} final ${row.final}` +
    (row.revision === undefined ? "" : ` revision ${row.revision}`);
}
