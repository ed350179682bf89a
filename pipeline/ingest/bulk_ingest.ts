import type { Clock } from "../clock.ts";
import { ConfigError, UnavailableError } from "../errors.ts";
import type { TopicSpec } from "../log/admin.ts";
import type { Cluster } from "../log/cluster.ts";
import { BatchTooLargeError } from "../log/kafka_errors.ts";
import { unlessAborted } from "../log/unless_aborted.ts";
import type { RegistryClient, SchemaFinder } from "../log/registry_client.ts";
import type { CommittedLog, TransactionalPublisher } from "../log/transactions.ts";
import { readAvro } from "./avro_records.ts";
import { Body } from "./body.ts";
import {
  BULK_LIMITS,
  type BulkAnswer,
  type BulkFigures,
  type BulkIngest,
  type BulkLimits,
  type BulkOutcome,
  BulkRefusal,
  type BulkRequest,
} from "./bulk.ts";
import { Collected } from "./collected.ts";
import { HeldBytes, type HeldShare } from "./held_bytes.ts";
import { readNdjson, type TopicValues } from "./ndjson.ts";
import { KEYED_SLOTS, type Receipt, RECEIPTS_TOPIC, receiptsTopicSpec, slotOf, SLOTS } from "./receipts.ts";
import { IngestSlot } from "./slot.ts";
import { createTopicSchemas } from "./topic_schemas.ts";

export interface BulkIngestOptions {
  readonly cluster: Cluster;
  readonly publishers: (transactionalId: string) => TransactionalPublisher;
  readonly log: CommittedLog;
  readonly registry: RegistryClient & SchemaFinder;
  readonly ensureTopics: (topics: readonly TopicSpec[]) => Promise<void>;
  readonly clock: Clock;
  /** Where they differ from `BULK_LIMITS`. */
  readonly limits?: Partial<BulkLimits>;
}

/** As it runs in a process. */
export interface RunningBulkIngest extends BulkIngest {
  /**
   * Ends what a process that was killed left open, so that readers of its topics need not wait until Kafka does; nothing where
   * no request ever came.
   *
   * @throws UnavailableError when the brokers are away
   */
  recover(signal: AbortSignal): Promise<void>;
  figures(): BulkFigures;
}

/** Takes requests until the process ends; what is under way then is in its topic whole, or not at all. */
export function createBulkIngest(options: BulkIngestOptions): RunningBulkIngest {
  return new Requests(options);
}

class Requests implements RunningBulkIngest {
  readonly #options: BulkIngestOptions;
  readonly #limits: BulkLimits;
  readonly #schemaOf: ReturnType<typeof createTopicSchemas>;
  readonly #slots: IngestSlot[];
  readonly #held: HeldBytes;
  readonly #keys = new Set<string>();
  readonly #outcomes = new Map<BulkOutcome, number>();
  #records = 0;
  #requests = 0;
  #turn = 0;
  #ensured: Promise<void> | null = null;

  constructor(options: BulkIngestOptions) {
    const { publishers, log, clock, registry } = options;
    this.#options = options;
    this.#limits = { ...BULK_LIMITS, ...options.limits };
    const { keysMax, keyMs } = this.#limits;
    this.#schemaOf = createTopicSchemas(registry, clock);
    this.#held = new HeldBytes(this.#limits.heldBytesMax);
    this.#slots = Array.from({ length: SLOTS }, (_, slot) => {
      // Receipts of requests without a key are looked for only by the request itself.
      const isKeyed = slot < KEYED_SLOTS;
      return new IngestSlot({ slot, publishers, log, clock, keyMs, keysMax: isKeyed ? keysMax : 100 });
    });
  }

  figures(): BulkFigures {
    return {
      requests: this.#outcomes,
      records: this.#records,
      underWay: this.#requests,
      heldBytes: this.#held.held,
    };
  }

  async recover(signal: AbortSignal): Promise<void> {
    const found = await unlessAborted(this.#options.cluster.leaders(RECEIPTS_TOPIC), signal);
    if (found === null) return;
    await Promise.all(this.#slots.map((slot) => slot.open(signal)));
  }

  async write(request: BulkRequest): Promise<BulkAnswer> {
    let outcome: BulkOutcome = "failed";
    try {
      const answer = await this.#answer(request);
      const isNew = answer.kind === "written" && !answer.isRepeat;
      outcome = answer.kind === "written" && !isNew ? "repeated" : answer.kind;
      if (isNew) this.#records += answer.records;
      return answer;
    } finally {
      this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + 1);
    }
  }

  async #answer(request: BulkRequest): Promise<BulkAnswer> {
    const { requestsMax, bodyBytesMax } = this.#limits;
    const { idempotencyKey, declaredBytes } = request;
    if (declaredBytes !== null && declaredBytes > bodyBytesMax) {
      return { kind: "too large", problem: `at most ${bodyBytesMax} bytes` };
    }
    if (idempotencyKey !== null && this.#keys.has(idempotencyKey)) return { kind: "key busy", retryAfterSeconds: 1 };
    if (this.#requests >= requestsMax) {
      return { kind: "busy", problem: `${requestsMax} requests are under way`, retryAfterSeconds: 1 };
    }
    this.#requests++;
    if (idempotencyKey !== null) this.#keys.add(idempotencyKey);
    try {
      using held = this.#held.share();
      return await this.#write(request, held);
    } catch (error) {
      if (error instanceof BulkRefusal) return error.answer;
      // Somebody may have deleted the topic.
      if (error instanceof UnavailableError) this.#ensured = null;
      throw error;
    } finally {
      this.#requests--;
      if (idempotencyKey !== null) this.#keys.delete(idempotencyKey);
    }
  }

  async #write(request: BulkRequest, held: HeldShare): Promise<BulkAnswer> {
    const { clock } = this.#options;
    const { openMs, writeMs } = this.#limits;
    const { topic, idempotencyKey } = request;
    const id = crypto.randomUUID();
    const key = idempotencyKey ?? id;
    const slot = this.#slotFor(idempotencyKey);
    {
      using until = deadline(openMs, `Kafka did not answer within ${openMs / 1000} s; nothing was written`);
      await unlessAborted(this.#ensureReceipts(), until.signal);
      await slot.open(until.signal);
    }
    const body = new Body(request, this.#limits);
    const known = idempotencyKey === null ? null : slot.find(key);
    if (known) {
      // Only the hash of all of it tells whether it is the same request.
      for await (const _ of body.chunks());
      return answerOf(known, { id, digest: body.digest(), topic });
    }
    const collected = await this.#read(request, body, held);
    const refusal = collected.refusal();
    if (refusal) return refusal;
    if (collected.count === 0) return { kind: "unreadable", problem: "has no record" };
    const digest = body.digest();
    const receipt = { id, key, digest, topic, records: collected.count, atMs: clock.now() };
    const late = `Kafka did not acknowledge within ${writeMs / 1000} s: all records may be there, or none`;
    try {
      using until = deadline(writeMs, late);
      const found = await slot.write(receipt, collected.parts(), until.signal);
      return answerOf(found, receipt);
    } catch (error) {
      if (error instanceof BatchTooLargeError) return { kind: "too large", problem: error.message };
      // What the broker's settings forbid is no fault of the request, and no bug here.
      if (error instanceof ConfigError) throw new UnavailableError(error.message, { cause: error });
      throw error;
    }
  }

  async #read(request: BulkRequest, body: Body, held: HeldShare): Promise<Collected> {
    const { cluster, clock, registry } = this.#options;
    const { topic, format, lines, key } = request;
    const [found, schema] = await Promise.all([cluster.leaders(topic), this.#schemaOf(topic)]);
    if (!found || schema.kind === "none") throw new BulkRefusal({ kind: "unknown topic" });
    if (schema.kind === "unusable") throw new BulkRefusal({ kind: "unusable schema", problem: schema.problem });
    const partitions = found.leaders.length;
    const collected = new Collected({
      topic,
      partitions,
      limits: this.#limits,
      held,
      timestampMs: clock.now(),
      turn: this.#turn++,
    });
    const to: TopicValues = { schemaId: schema.latest.id, values: schema.values };
    if (format === "ndjson") await readNdjson(body.chunks(), collected, { ...to, lines, key });
    else {
      const { bodyBytesMax: bytesMax } = this.#limits;
      await readAvro(body.chunks(), collected, { ...to, topic, key, registry, bytesMax });
    }
    return collected;
  }

  #slotFor(key: string | null): IngestSlot {
    if (key !== null) return this.#slots[slotOf(key)];
    return this.#slots.slice(KEYED_SLOTS).reduce((least, slot) => slot.waiting < least.waiting ? slot : least);
  }

  /** Once; again after a failure. */
  #ensureReceipts(): Promise<void> {
    const spec = receiptsTopicSpec(this.#limits.keysMax);
    return this.#ensured ??= this.#options.ensureTopics([spec]).catch((error) => {
      this.#ensured = null;
      throw error;
    });
  }
}

function answerOf(found: Receipt, { id, digest, topic }: Pick<Receipt, "id" | "digest" | "topic">): BulkAnswer {
  if (found.id !== id && (found.digest !== digest || found.topic !== topic)) {
    const problem = `it was used at ${new Date(found.atMs).toISOString()} for another request`;
    return { kind: "key reused", problem };
  }
  return { kind: "written", records: found.records, isRepeat: found.id !== id };
}

/** A signal that ends the waiting for Kafka; nothing is left of it at the end of the scope. */
function deadline(ms: number, late: string): { readonly signal: AbortSignal } & Disposable {
  const over = new AbortController();
  const timer = setTimeout(() => over.abort(new UnavailableError(late)), ms);
  return { signal: over.signal, [Symbol.dispose]: () => clearTimeout(timer) };
}
