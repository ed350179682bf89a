import assert from "node:assert/strict";
import type { Clock } from "../../../pipeline/clock.ts";
import { avroType } from "../../../pipeline/codec/avro_values.ts";
import type { GuardOptions } from "../../../pipeline/net/guarded_fetch.ts";
import type { AvroSchema } from "../../../pipeline/plan/plan.ts";
import { createSecrets } from "../../../pipeline/secrets.ts";
import type { HttpPollOptions, HttpPollSpec } from "../../../pipeline/sources/http/definition.ts";
import { httpPollKind, openHttp } from "../../../pipeline/sources/http/kind.ts";
import type { Source, SourceBatch, SourcePosition } from "../../../pipeline/sources/source.ts";
import type { SourcePlan } from "../../../pipeline/sources/source_spec.ts";

export const SCHEMA = JSON.parse(
  Deno.readTextFileSync(new URL("../../../schemas/user_profile.avsc", import.meta.url)),
) as AvroSchema;

export const MAP = {
  user_id: "id",
  name: "name",
  email: "contact.email",
  country: "country",
  tier: "tier",
  updated_at: "updated_at",
};

/** A clock whose sleepers wake at once, as if the time had passed. */
export class EagerClock implements Clock {
  ms = Date.parse("2026-11-21T12:00:00Z");
  readonly slept: number[] = [];
  now = () => this.ms;
  /** How far each look at the monotonic clock moves it: with a few seconds every page is a batch of its own. */
  lookMs = 0;
  #looksMs = 0;
  monotonic = () => this.ms + (this.#looksMs += this.lookMs);
  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    signal?.throwIfAborted();
    this.slept.push(ms);
    this.ms += ms;
  }
}

export function planOf(from: HttpPollSpec, schema: AvroSchema = SCHEMA, key = "user_id"): SourcePlan {
  return {
    name: "profiles",
    from,
    to: { kind: "topic", topic: "profiles", schema, key, eventTime: "updated_at" },
    into: null,
    limitPerSecond: null,
    partitions: null,
  };
}

export interface OpenOptions {
  readonly clock: Clock;
  readonly env?: Readonly<Record<string, string>>;
  readonly guard?: Pick<GuardOptions, "lookup" | "ca">;
  readonly schema?: AvroSchema;
  readonly key?: string;
  readonly log?: (message: string) => void;
}

/** Opens a source after its definition was found without faults. */
export function open(
  options: HttpPollOptions,
  { clock, env = {}, guard, schema, key, log = () => {} }: OpenOptions,
): Source {
  // As a definition is kept: plain JSON.
  const spec = JSON.parse(JSON.stringify({ kind: "httpPoll", allowPrivate: true, ...options })) as HttpPollSpec;
  const plan = planOf(spec, schema, key);
  assert.deepEqual(httpPollKind.check(spec, plan), []);
  const secrets = createSecrets({ env: (name) => env[name], folder: "/nonexistent", onFound: () => {} });
  return openHttp(spec, { plan, secrets, schemaId: 7, clock, log: (_, message) => log(message) }, guard);
}

/** What a topic and its companions hold after some batches. */
export class Written {
  position: SourcePosition | null = null;
  readonly records: Record<string, unknown>[] = [];
  readonly rejected: { reason: string; where: string; raw: string }[] = [];
  skipped = 0;
  batches = 0;
  readonly #values;

  constructor(schema: AvroSchema = SCHEMA) {
    this.#values = avroType(schema);
  }

  /** As the task does: all of it, and the position through JSON. */
  commit(batch: SourceBatch): void {
    for (const { value } of batch.records) {
      this.records.push(this.#values.decodeToJson(value!.subarray(5)) as Record<string, unknown>);
    }
    for (const { reason, where, raw } of batch.rejected ?? []) {
      this.rejected.push({ reason, where, raw: new TextDecoder().decode(raw) });
    }
    this.skipped += batch.skipped ?? 0;
    this.position = JSON.parse(JSON.stringify(batch.position));
    this.batches++;
  }

  get ids(): string[] {
    return this.records.map(({ user_id }) => String(user_id));
  }
}

export interface RunOptions {
  readonly clock: Clock;
  readonly waiting?: (string | null)[];
  /** Batches committed before it is killed: a batch more may have been read by then. */
  readonly batches?: number;
  readonly isBounded?: boolean;
}

/** Reads on from what is written, until the bounded end or the kill; closes the source. */
export async function run(source: Source, into: Written, options: RunOptions): Promise<void> {
  const { clock, waiting = [], batches = Infinity, isBounded = true } = options;
  const ending = new AbortController();
  await using _source = source;
  const iterator = source.read(into.position, {
    signal: ending.signal,
    clock,
    isBounded,
    onWaiting: (reason) => waiting.push(reason),
  })[Symbol.asyncIterator]();
  try {
    let next = iterator.next();
    for (let count = 0;; count++) {
      const { done, value } = await next;
      if (done || count === batches) break;
      next = iterator.next();
      next.catch(() => {});
      into.commit(value);
    }
  } finally {
    ending.abort();
    await iterator.return?.().catch(() => {});
  }
}
