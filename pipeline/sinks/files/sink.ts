/**
 * A topic's records as files, each record in exactly one that counts.
 *
 *     rows ▶ those beyond the chain's end ▶ file, put where there is none ▶ manifest, put where there is none ▶ the chain ends there
 *
 * A crash after any step leaves a file without a manifest at most, which does not count; the rows come again and make it again, under
 * the same name when the batch is the same.
 *
 * @module
 */
import type { ObjectStore } from "../lake/object_store.ts";
import type { ResultColumn } from "../../plan/plan.ts";
import {
  NO_POSITION,
  RejectedRowsError,
  type ResultRows,
  type ResultValue,
  type Sink,
  type WriteOptions,
} from "../sink.ts";
import { pickRows } from "../rows.ts";
import { fileName } from "./file_names.ts";
import { HINT_EVERY, type Manifest, Manifests, type Place } from "./manifests.ts";
import { sweep } from "./sweep.ts";

/** How rows become a file's bytes. */
export interface FileFormat extends Partial<AsyncDisposable> {
  /** `ndjson.gz` */
  readonly extension: string;
  /** The rows from `first` on. */
  encode(rows: ResultRows, first: number): Promise<Uint8Array>;
  /** Why a file cannot have a value, in words; null when it can. Not there where files can have any. */
  refusal?(column: ResultColumn, value: ResultValue): string | null;
}

export interface FilesSinkOptions {
  readonly name: string;
  /** Closed with the sink. */
  readonly store: ObjectStore;
  /** Which folder files go to. */
  readonly consumer: number;
  readonly format: FileFormat;
  /** Manifests from one hint to the next; `HINT_EVERY` unless told. */
  readonly hintEvery?: number;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
}

/** A sink for deliveries. Throws as its store does. */
export function createFilesSink(options: FilesSinkOptions): Sink {
  return new FilesSink(options);
}

class FilesSink implements Sink {
  readonly name: string;
  readonly position = NO_POSITION.position;
  readonly #options: FilesSinkOptions;
  readonly #manifests: Manifests;
  /** Where chains end, as far as known, by topic and partition. */
  readonly #ends = new Map<string, number>();
  /** Manifests since the last hint, by topic and partition. */
  readonly #unhinted = new Map<string, number>();
  readonly #closing = new AbortController();
  #sweeping: Promise<void> = Promise.resolve();

  constructor(options: FilesSinkOptions) {
    this.name = options.name;
    this.#options = options;
    this.#manifests = new Manifests(options.store, options);
  }

  /** The first consumer puts the folder in order, beside its work: nothing waits for it. */
  resume(): Promise<void> {
    if (this.#options.consumer === 0) this.#sweeping = this.#sweep();
    return Promise.resolve();
  }

  async #sweep(): Promise<void> {
    const { store, log } = this.#options;
    const { signal } = this.#closing;
    try {
      const removed = await sweep(store, { manifests: this.#manifests, signal });
      if (removed.length > 0) {
        log("info", `${removed.length} files were left without a manifest and are removed from ${store.url}`);
      }
    } catch (error) {
      if (!signal.aborted) {
        log("warn", `files without a manifest stay until the next start: ${(error as Error).message}`);
      }
    }
  }

  async delivered(
    place: { readonly topic: string; readonly partition: number; readonly topicId?: string },
    { signal }: { readonly signal: AbortSignal },
  ): Promise<number | null> {
    const end = await this.#manifests.end(place, { signal });
    const key = `${place.topic}/${place.partition}`;
    if (end === null) this.#ends.delete(key);
    else this.#ends.set(key, end);
    return end;
  }

  /** @throws RejectedRowsError for values that files of this format cannot have */
  async write(rows: ResultRows, { signal }: WriteOptions): Promise<void> {
    const refused = this.#refused(rows);
    await this.#write(refused.size > 0 ? without(rows, refused) : rows, signal);
    if (refused.size > 0) throw new RejectedRowsError(Array.from(refused, ([row, reason]) => ({ row, reason })));
  }

  #refused({ columns, length, values }: ResultRows): Map<number, string> {
    const { format } = this.#options;
    const refused = new Map<number, string>();
    if (!format.refusal) return refused;
    columns.forEach((column, i) => {
      for (let row = 0; row < length; row++) {
        const reason = format.refusal!(column, values[i][row]);
        if (reason !== null && !refused.has(row)) refused.set(row, `${column.name} ${reason}`);
      }
    });
    return refused;
  }

  async #write(rows: ResultRows, signal: AbortSignal): Promise<void> {
    const { origin } = rows;
    if (!origin) throw new Error(`${this.name} takes records of deliveries only`);
    const { topic, topicId, partition, from, to, offsets } = origin;
    const place = topicId === undefined ? { topic, partition } : { topic, topicId, partition };
    const key = `${topic}/${partition}`;
    let end = this.#ends.get(key) ?? await this.#manifests.begin(place, from, { signal });
    // Each turn somebody's manifest moves the end on.
    for (;;) {
      this.#ends.set(key, end);
      const first = offsets.findIndex((offset) => offset >= end);
      if (first < 0) return;
      end = await this.#put(rows, { first, range: { ...place, from: end, to } }, signal);
    }
  }

  /** Puts one file and its manifest; where the chain goes on then, whoever's the manifest is. */
  async #put(
    rows: ResultRows,
    { first, range }: { readonly first: number; readonly range: Place & Pick<Manifest, "from" | "to"> },
    signal: AbortSignal,
  ): Promise<number> {
    const { store, consumer, format } = this.#options;
    const file = fileName(range, { consumer, extension: format.extension });
    const made = await format.encode(rows, first);
    signal.throwIfAborted();
    const isNew = await store.putIfAbsent(file, made, { signal });
    // One that was left there holds the same records, perhaps written by another version of this program.
    const bytes = isNew ? made : await store.get(file, { signal });
    // Whoever left it there lost its place to another, and has just removed it.
    if (bytes === null) return (await this.#manifests.get(range, range.from, { signal })).to;
    const manifest: Manifest = {
      ...range,
      rows: rows.length - first,
      file,
      bytes: bytes.length,
      sha256: await sha256(bytes),
    };
    const there = await this.#manifests.claim(manifest, { signal });
    // Another's has the place, so no manifest will name this file.
    if (there.file !== file) await store.remove([file], { signal });
    await this.#count(there, signal);
    return there.to;
  }

  /** Has the end found from a manifest that is not far from it. */
  async #count(manifest: Manifest, signal: AbortSignal): Promise<void> {
    const { hintEvery = HINT_EVERY } = this.#options;
    const key = `${manifest.topic}/${manifest.partition}`;
    const count = (this.#unhinted.get(key) ?? 0) + 1;
    this.#unhinted.set(key, count % hintEvery);
    if (count === hintEvery) await this.#manifests.hint(manifest, manifest.from, { signal });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { store, format } = this.#options;
    this.#closing.abort(new DOMException("The files are closed", "AbortError"));
    await this.#sweeping;
    await format[Symbol.asyncDispose]?.();
    await store[Symbol.asyncDispose]();
  }
}

/** The other rows. */
function without(rows: ResultRows, refused: ReadonlyMap<number, string>): ResultRows {
  return pickRows(rows, Array.from({ length: rows.length }, (_, row) => row).filter((row) => !refused.has(row)));
}

async function sha256(bytes: Uint8Array): Promise<string> {
  // Boundary: the bytes are never in shared memory, which the type would allow.
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>)).toHex();
}
