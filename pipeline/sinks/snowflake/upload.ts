/**
 * Takes the files of a delivery into Snowflake: those that count, each once, however often it is called.
 *
 * @module
 */
import { UnavailableError } from "../../errors.ts";
import { type Manifest, Manifests } from "../files/manifests.ts";
import type { ObjectStore } from "../lake/object_store.ts";
import type { DeliveryPlan } from "../../deliveries/delivery_spec.ts";
import {
  loadedStatement,
  loadStatements,
  objectStatements,
  sessionStatements,
  type SnowflakeNames,
} from "./scripts.ts";

/** Files in one load: a load is one transaction. */
export const FILES_PER_LOAD_MAX = 500;

/** Where statements are run: `snowflake-sdk`, or a stand-in. */
export interface SnowflakeConnection extends AsyncDisposable {
  /** Rows by column name, in upper case. @throws UnavailableError, ConfigError */
  execute(sql: string): Promise<readonly Readonly<Record<string, unknown>>[]>;
}

export interface UploadOptions {
  readonly plan: Pick<DeliveryPlan, "topic" | "columns" | "key">;
  readonly names: SnowflakeNames;
  /** The folder of the delivery's files, on this machine's disk. */
  readonly store: ObjectStore;
  readonly connection: SnowflakeConnection;
  readonly signal: AbortSignal;
}

/**
 * Puts and loads all files that are not loaded yet, each partition's in order. One caller at a time.
 *
 * @returns how many files, and lines in them
 */
export async function upload(options: UploadOptions): Promise<{ readonly files: number; readonly rows: number }> {
  const { plan, names, connection, signal } = options;
  for (const statement of [...objectStatements(names, plan), ...sessionStatements(names)]) {
    await connection.execute(statement);
  }
  const sum = { files: 0, rows: 0 };
  for (;;) {
    signal.throwIfAborted();
    const next = await notLoaded(options);
    if (next.length === 0) return sum;
    const load = `load-${crypto.randomUUID()}`;
    await put(next, load, options);
    const ends = new Map(next.map(({ topic, partition, to }) => [`${topic}/${partition}`, { topic, partition, to }]));
    try {
      for (const statement of loadStatements(names, { rows: plan, load, ranges: [...ends.values()] })) {
        await connection.execute(statement);
      }
    } catch (error) {
      // What is left open would hold locks; the transaction may be over already.
      await connection.execute("ROLLBACK").catch(() => {});
      throw error;
    }
    sum.files += next.length;
    sum.rows += next.reduce((rows, manifest) => rows + manifest.rows, 0);
  }
}

/** At most one load's files, those of a partition in a row. */
async function notLoaded({ plan, names, store, connection, signal }: UploadOptions): Promise<Manifest[]> {
  const loaded = new Map(
    (await connection.execute(loadedStatement(names)))
      .filter(({ TOPIC }) => TOPIC === plan.topic)
      .map(({ KAFKA_PARTITION, LOADED_TO }) => [Number(KAFKA_PARTITION), Number(LOADED_TO)]),
  );
  const manifests = new Manifests(store);
  const next: Manifest[] = [];
  for (const partition of await manifests.partitions(plan.topic, { signal })) {
    const place = { topic: plan.topic, partition };
    for (const start of await manifests.starts(place, { from: loaded.get(partition) ?? 0, signal })) {
      if (next.length >= FILES_PER_LOAD_MAX) return next;
      next.push(await manifests.get(place, start, { signal }));
    }
  }
  return next;
}

async function put(manifests: readonly Manifest[], load: string, options: UploadOptions): Promise<void> {
  const { names, store, connection, signal } = options;
  using local = await store.local(manifests.map(({ file }) => file), { signal });
  for (const path of local.paths) {
    signal.throwIfAborted();
    const url = `file://${path.replaceAll("'", "\\'")}`;
    const [answer] = await connection.execute(
      `PUT '${url}' @${names.stage}/${load} AUTO_COMPRESS = FALSE OVERWRITE = TRUE`,
    );
    const status = String(answer?.STATUS ?? answer?.status ?? "");
    if (status !== "UPLOADED") throw new UnavailableError(`Snowflake did not take ${path}: ${status || "no answer"}`);
  }
}
