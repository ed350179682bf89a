/** What a folder of files holds, as its manifests say. @module */
import assert from "node:assert/strict";
import { gunzipSync } from "node:zlib";
import { DuckDBInstance } from "@duckdb/node-api";
import type { ObjectStore } from "../../../pipeline/sinks/lake/object_store.ts";
import type { Manifest } from "../../../pipeline/sinks/files/manifests.ts";

export type Line = Readonly<Record<string, unknown>> & {
  readonly kafka_partition: number;
  readonly kafka_offset: number;
};

export interface Files {
  readonly manifests: readonly Manifest[];
  readonly lines: readonly Line[];
  /** Keys of files without a manifest. */
  readonly orphans: readonly string[];
}

export interface ParquetFiles extends Omit<Files, "lines"> {
  /** Longs, decimals, times and bytes as text; timestamps as their microseconds. */
  readonly rows: readonly Readonly<Record<string, unknown>>[];
  /** Of each column, what the files say that it is. */
  readonly types: ReadonlyMap<string, string>;
}

/** The same of Parquet files, read by DuckDB, which must all have the same columns. */
export async function readParquet(store: ObjectStore): Promise<ParquetFiles> {
  const rows: Readonly<Record<string, unknown>>[] = [];
  const types = new Map<string, string>();
  const database = await DuckDBInstance.create(":memory:");
  const connection = await database.connect();
  try {
    await connection.run("SET TimeZone = 'UTC'");
    const found = await readManifests(store, async (manifest) => {
      using local = await store.local([manifest.file]);
      const [path] = local.paths.map((path) => `'${path}'`);
      const about = await connection.runAndReadAll(`DESCRIBE SELECT * FROM read_parquet(${path})`);
      const select = about.getRowsJson().map(([name, type]) => {
        const column = `"${name}"`;
        if (String(type).startsWith("TIMESTAMP")) return `epoch_us(${column}) AS ${column}`;
        return type === "BLOB" ? `hex(${column}) AS ${column}` : column;
      });
      const all = await connection.runAndReadAll(`SELECT ${select} FROM read_parquet(${path})`);
      const own = all.getRowObjectsJson() as Readonly<Record<string, unknown>>[];
      assert.equal(own.length, manifest.rows, manifest.file);
      for (const row of own) {
        const offset = Number(row.kafka_offset);
        assert.ok(offset >= manifest.from && offset < manifest.to, `${manifest.file} holds ${offset}`);
        assert.equal(Number(row.kafka_partition), manifest.partition);
      }
      rows.push(...own);
      const schema = await connection.runAndReadAll(
        `SELECT name, type, coalesce(logical_type, converted_type) FROM parquet_schema(${path})`,
      );
      for (const [name, type, logical] of schema.getRowsJson().slice(1)) {
        const whole = logical === null ? String(type) : `${type} ${logical}`;
        assert.equal(types.get(String(name)) ?? whole, whole, `${name} is of two types`);
        types.set(String(name), whole);
      }
    });
    return { ...found, rows, types };
  } finally {
    connection.closeSync();
    database.closeSync();
  }
}

/** Reads all, and checks of each manifest that its file is there and holds what it says, and that the chains have no gap. */
export async function readFiles(store: ObjectStore): Promise<Files> {
  const lines: Line[] = [];
  const found = await readManifests(store, (manifest, bytes) => {
    const text = new TextDecoder().decode(manifest.file.endsWith(".gz") ? gunzipSync(bytes) : bytes);
    assert.ok(text.endsWith("\n"), `${manifest.file} ends within a line`);
    const own = text.trimEnd().split("\n").map((line) => JSON.parse(line) as Line);
    assert.equal(own.length, manifest.rows);
    for (const line of own) {
      assert.ok(
        line.kafka_offset >= manifest.from && line.kafka_offset < manifest.to,
        `${manifest.file} holds ${line.kafka_offset}`,
      );
      assert.equal(line.kafka_partition, manifest.partition);
    }
    lines.push(...own);
  });
  return { ...found, lines };
}

async function readManifests(
  store: ObjectStore,
  take: (manifest: Manifest, bytes: Uint8Array) => void | Promise<void>,
): Promise<Omit<Files, "lines">> {
  const keys: string[] = [];
  for await (const { key } of store.list("")) keys.push(key);
  const manifests: Manifest[] = [];
  for (const key of keys.filter((key) => /^_manifest\/.*\/\d{20}\.json$/.test(key))) {
    const manifest = JSON.parse(new TextDecoder().decode((await store.get(key))!)) as Manifest;
    manifests.push(manifest);
    const bytes = await store.get(manifest.file);
    assert.ok(bytes, `${manifest.file} is named and not there`);
    assert.equal(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes.slice())).toHex(), manifest.sha256);
    await take(manifest, bytes);
  }
  for (const chain of Map.groupBy(manifests, ({ topic, partition }) => `${topic}/${partition}`).values()) {
    chain.sort((a, b) => a.from - b.from);
    chain.slice(1).forEach(({ from }, i) => assert.equal(from, chain[i].to, "a chain has a gap"));
  }
  const named = new Set(manifests.map(({ file }) => file));
  const orphans = keys.filter((key) => key.startsWith("consumer-") && !named.has(key));
  return { manifests, orphans };
}
