import assert from "node:assert/strict";
import { avroType, type AvroValues, type Json } from "../../../pipeline/codec/avro_values.ts";
import { systemClock } from "../../../pipeline/clock.ts";
import { FRAME_BYTES, schemaIdAt } from "../../../pipeline/codec/framing.ts";
import type { RegistryClient } from "../../../pipeline/log/registry_client.ts";
import type { AvroSchema } from "../../../pipeline/plan/plan.ts";
import type { Source, SourceBatch, SourceRecord } from "../../../pipeline/sources/source.ts";
import type { SourceContext } from "../../../pipeline/sources/source_spec.ts";
import { createSecrets } from "../../../pipeline/secrets.ts";
import type { PostgresChangesSpec } from "../../../pipeline/sources/postgres_changes/definition.ts";
import { changesOptions } from "../../../pipeline/sources/postgres_changes/kind.ts";
import {
  type ChangesOptions,
  PostgresChangesSource,
} from "../../../pipeline/sources/postgres_changes/postgres_changes_source.ts";
import type { ChangesPosition } from "../../../pipeline/sources/postgres_changes/position.ts";

/** A record as its reader has it. */
export interface Read {
  readonly topic: string;
  readonly key: string;
  /** Null for a tombstone. */
  readonly value: Envelope | null;
}

export interface Envelope {
  readonly before: Row | null;
  readonly after: Row | null;
  readonly op: string;
  readonly ts_ms: Json;
  readonly source: {
    readonly lsn: number;
    readonly index: number;
    readonly txId: number | null;
    readonly table: string;
  };
  readonly unavailable: readonly string[];
}

export type Row = { readonly [column: string]: Json };

export type Fate = "commit" | "lose" | "commit untold";

/** A registry that takes everything. */
export function openRegistry(): RegistryClient & { readonly schemas: AvroSchema[] } {
  const schemas: AvroSchema[] = [];
  return {
    schemas,
    register(_, schema) {
      const text = JSON.stringify(schema);
      let at = schemas.findIndex((known) => JSON.stringify(known) === text);
      if (at < 0) at = schemas.push(schema) - 1;
      return Promise.resolve(at + 1);
    },
    schemaById: (id) => Promise.resolve(schemas[id - 1] ?? null),
    latest: () => Promise.resolve(null),
  };
}

/** What a source's task does, with topics in memory: records and position together, or neither. */
export class Topics {
  readonly records: SourceRecord[] = [];
  readonly registry: RegistryClient;
  readonly logged: string[] = [];
  readonly batches: { readonly records: number; readonly position: ChangesPosition }[] = [];
  position: ChangesPosition | null = null;
  /** Smaller ones than usual. */
  bounds: Pick<ChangesOptions, "batchRecords" | "snapshotAgeMaxMs" | "silentMaxMs"> = {};
  readonly #url: string;
  readonly #spec: PostgresChangesSpec;
  readonly #name: string;
  readonly #types = new Map<number, AvroValues>();

  constructor(
    url: string,
    spec: Omit<PostgresChangesSpec, "kind">,
    { registry = openRegistry(), name = "shop" }: { readonly registry?: RegistryClient; readonly name?: string } = {},
  ) {
    this.#url = url;
    this.#spec = { kind: "postgresChanges", ...spec };
    this.#name = name;
    this.registry = registry;
  }

  with(spec: Partial<PostgresChangesSpec>): Topics {
    const other = new Topics(this.#url, { ...this.#spec, ...spec }, { registry: this.registry, name: this.#name });
    other.records.push(...this.records);
    other.position = this.position;
    return other;
  }

  /**
   * Runs the source until the signal, `until` says so after a commit, or a fate ends it; bounded it ends by itself.
   *
   * @param fate of the next batch: what a crash does comes after `lose` and `commit untold`
   */
  async run(
    { fate = () => "commit", until = () => false, isBounded = true, signal = new AbortController().signal }: {
      readonly fate?: (batch: SourceBatch) => Fate | Promise<Fate>;
      readonly until?: () => boolean;
      readonly isBounded?: boolean;
      readonly signal?: AbortSignal;
    } = {},
  ): Promise<void> {
    await using source = this.open();
    const stop = new AbortController();
    const both = AbortSignal.any([stop.signal, signal]);
    const batches = source.read(this.position, { signal: both, clock: systemClock, isBounded, onWaiting: () => {} });
    const iterator = batches[Symbol.asyncIterator]();
    try {
      // As the task does, the next batch is asked for before this one is committed.
      let next = iterator.next();
      for (;;) {
        const { done, value: batch } = await next;
        if (done) return;
        next = iterator.next();
        next.catch(() => {});
        const decided = await fate(batch);
        if (decided === "lose") return;
        // As it is written down, and read again.
        this.position = JSON.parse(JSON.stringify(batch.position));
        this.records.push(...batch.records);
        this.batches.push({ records: batch.records.length, position: this.position! });
        if (decided === "commit untold") return;
        await source.committed?.(batch.position);
        if (until()) return;
      }
    } finally {
      stop.abort(new DOMException("The test is over", "AbortError"));
      await iterator.return?.().catch(() => {});
    }
  }

  /** The source itself, as its task opens it. */
  open(): Source {
    const context: SourceContext = {
      plan: {
        name: this.#name,
        from: this.#spec,
        to: { kind: "topics", prefix: "cdc" },
        into: null,
        limitPerSecond: null,
        partitions: null,
      },
      secrets: createSecrets({ env: () => undefined, onFound: () => {} }),
      registry: this.registry,
      schemaId: 0,
      ensureTopics: () => Promise.resolve(),
      clock: systemClock,
      log: (_, line) => void this.logged.push(line),
      folder: "",
      databaseUrl: this.#url,
      own: { brokers: [], cluster: { clientId: "", ssl: false, sasl: null }, registryUrl: "" },
    };
    return new PostgresChangesSource({ ...changesOptions(this.#spec, context), ...this.bounds });
  }

  async read(): Promise<Read[]> {
    const all: Read[] = [];
    for (const { topic, key, value } of this.records) {
      const text = new TextDecoder().decode(key!);
      all.push({ topic: topic!, key: text, value: value && await this.#decode(value) });
    }
    return all;
  }

  /** What a reader has who applies every record, by topic and key. Fails when something comes that cannot be. */
  async applied(): Promise<Map<string, Map<string, Row>>> {
    const tables = new Map<string, Map<string, Row>>();
    for (const { topic, key, value } of await this.read()) {
      const rows = tables.get(topic) ?? tables.set(topic, new Map()).get(topic)!;
      if (value === null) {
        assert.ok(!rows.has(key), `a tombstone of ${key} that was not deleted`);
      } else if (value.op === "t") {
        rows.clear();
      } else if (value.op === "d") {
        assert.ok(rows.delete(key), `${topic} ${key} is deleted and was not there`);
      } else {
        assert.equal(rows.has(key), value.op === "u", `${topic} ${key}: ${value.op} of a row that is there or not`);
        const was = rows.get(key);
        const row = Object.fromEntries(
          Object.entries(value.after!).map(([name, now]) =>
            value.unavailable.includes(name) && was ? [name, was[name]] : [name, now]
          ),
        );
        rows.set(key, row);
      }
    }
    return tables;
  }

  async #decode(value: Uint8Array): Promise<Envelope> {
    const id = schemaIdAt(value, 0, value.length);
    const type = this.#types.get(id) ?? avroType((await this.registry.schemaById(id))!);
    this.#types.set(id, type);
    return type.decodeToJson(value.subarray(FRAME_BYTES)) as unknown as Envelope;
  }
}
