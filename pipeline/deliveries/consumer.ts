/**
 * One member of a delivery's consumer group: reads the partitions it is given, and writes them to all destinations.
 *
 *     join ▶ take over ▶ fetch ▶ decode into one batch per partition ▶ sinks ▶ commit in the group ──rebalance──▶ join ..
 *                                        └─ the next batches meanwhile
 *
 * A batch's letters are in `<topic>.dead` and its rows at all destinations before the group's offset moves past them; with that come
 * the counts, in the offset's metadata. Whatever was written and not committed is written again by whoever comes next, and found
 * there by sinks, which are idempotent.
 *
 * @module
 */
import { schemaIdAt } from "../codec/framing.ts";
import { IncompatibleSchemaError } from "../codec/resolve.ts";
import { RowReader } from "../codec/row_reader.ts";
import type { Clock } from "../clock.ts";
import { ConfigError, ConflictError, gravest, MalformedRecordError, UnavailableError } from "../errors.ts";
import type { Cluster, TopicLeaders } from "../log/cluster.ts";
import { type FetchedPart, Fetcher, OffsetOutOfRangeError } from "../log/fetcher.ts";
import { type Assignment, GroupMember, MembershipEndedError } from "../log/group_member.ts";
import type { GroupOffset } from "../log/group_requests.ts";
import { BatchScanner } from "../log/record_batch.ts";
import { Records } from "../log/records.ts";
import type { RegistryClient } from "../log/registry_client.ts";
import type { CommittedLog, TransactionalPublisher } from "../log/transactions.ts";
import type { RateLimit } from "../runtime/rate_limit.ts";
import { untilAvailable } from "../sinks/retry.ts";
import { RejectedRowsError, type ResultRows, type SetAsideRecord, type Sink } from "../sinks/sink.ts";
import { ORIGIN_COLUMNS } from "./columns.ts";
import { DeadLetters } from "./dead_letters.ts";
import type { DeliveryPlan } from "./delivery_spec.ts";
import { addCounts, type Progress, progressText, readProgress } from "./group_counts.ts";
import { KeyReader } from "./key_reader.ts";
import { deadLetter, PartitionBatch } from "./partition_batch.ts";

/** Bytes asked for a partition, and of a broker, in one answer; two answers of a broker are held at a time. */
const PARTITION_BYTES = 1024 * 1024;
const FETCH_BYTES = 4 * 1024 * 1024;
/** A batch that is larger than this when decompressed is not read. */
const DECOMPRESSED_BYTES_MAX = 64 * 1024 * 1024;
/** A batch goes out when it takes about so much memory, however few its rows are; one more is being written. */
export const BATCH_BYTES_MAX = 8 * 1024 * 1024;
/** What all batches of a member may take together: beyond, the largest goes out. */
export const BUFFERED_BYTES_MAX = 32 * 1024 * 1024;
const CHUNK_ROWS = 2048;
/** Writer schemas that are kept ready. */
const SCHEMAS_MAX = 256;
/** How often it is looked which batches are old enough. */
const TICK_MS = { least: 5, most: 100 };
/** How often it is looked whether the topic has more partitions. */
const TOPIC_CHECK_MS = 30_000;
/** How long a write under way may take when its partitions are to be given back, or the run ends. */
const LAST_WRITE_MS = 5_000;
const BACK_OFF_MS = { first: 200, most: 5_000 };

export interface ConsumerOptions {
  readonly plan: DeliveryPlan;
  readonly clock: Clock;
  /** For fetching; and for the member alone, whose requests may take long. */
  readonly cluster: Cluster;
  readonly memberCluster: Cluster;
  readonly group: string;
  /** As `GroupMemberOptions.instance`. */
  readonly instance?: string | null;
  readonly registry: RegistryClient;
  readonly log: CommittedLog;
  readonly publisher: (transactionalId: string) => TransactionalPublisher;
  readonly sinks: readonly Sink[];
  readonly limit: RateLimit;
  /** By partition: what lies at or after it is not read; none for reading on. */
  readonly until: ReadonlyMap<number, number> | null;
  /** How often it is looked whether the topic has more partitions, or is another; every 30 s unless told. */
  readonly topicCheckMs?: number;
  readonly say: (level: "info" | "warn" | "error", message: string) => void;
  /** Told by its name why a part waits, and null once it goes on. */
  readonly onWaiting: (part: string, reason: string | null) => void;
  /** Told where each partition is in the group: at the start all of the topic's, then what this member commits. */
  readonly onCommitted: (partition: number, offset: number, progress: Progress) => void;
  /** Told what it holds now. */
  readonly onAssigned: (partitions: readonly number[]) => void;
  /** Told how many records were read, and where a partition ends. */
  readonly onRead: (partition: number, about: { readonly records: number; readonly lag: number }) => void;
}

/** A partition that is held. */
interface Held {
  /** Next offset to read. */
  next: number;
  /** The first offset that is in no batch handed over for writing. */
  from: number;
  batch: PartitionBatch | null;
  progress: Progress;
  readonly until: number;
  /** When something of it was handed over last, by the monotonic clock. */
  lastSentMs: number;
}

/**
 * Consumes until the signal.
 *
 * @throws UnavailableError, ConfigError and ConflictError, as Kafka and destinations do; the next call goes on from what is committed
 */
export async function consume(options: ConsumerOptions, signal: AbortSignal): Promise<void> {
  const { plan: { topic }, clock, memberCluster, group, instance, sinks } = options;
  const member = new GroupMember(memberCluster, { group, topic, clock, instance });
  const waiting = new Set<string>();
  const onWaiting = (part: string, reason: string | null) => {
    if (reason === null) waiting.delete(part);
    else waiting.add(part);
    options.onWaiting(part, reason);
  };
  const onMember = (reason: string | null) => onWaiting("joining the group", reason);
  try {
    for (const sink of sinks) {
      const onSink = (reason: string | null) => onWaiting(`writing to ${sink.name}`, reason);
      await untilAvailable(() => sink.resume(null, { signal }), { clock, signal, onWaiting: onSink });
    }
    while (!signal.aborted) {
      const assignment = await untilAvailable(() => member.join(signal), { clock, signal, onWaiting: onMember });
      try {
        await new Holding({ ...options, onWaiting }, { member, assignment }).run(signal);
      } catch (error) {
        if (!(error instanceof MembershipEndedError)) throw error;
      } finally {
        options.onAssigned([]);
        // Whatever waited was given up with the partitions.
        for (const part of waiting) onWaiting(part, null);
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    await member.leave();
  }
}

/** What a member does from one rebalance to the next. */
class Holding {
  readonly #options: ConsumerOptions;
  readonly #member: GroupMember;
  readonly #assignment: Assignment;
  readonly #held = new Map<number, Held>();
  readonly #scanner = new BatchScanner({ decompressedBytesMax: DECOMPRESSED_BYTES_MAX });
  readonly #records: Records;
  /** By what `#idAt` gives. */
  readonly #readers = new Map<number, Reader>();
  /** Aborted when reading ends, for whatever reason; and when a write under way has had its time. */
  readonly #ending = new AbortController();
  readonly #cutting = new AbortController();
  #letters: DeadLetters | null = null;
  #failure: { readonly error: unknown } | null = null;
  #writing: Promise<void> = Promise.resolve();
  #turn: Promise<void> = Promise.resolve();
  #ended: Promise<void> | null = null;
  #epoch = 0;
  #partitionCount = 0;
  #topicId: string | null = null;

  constructor(
    options: ConsumerOptions,
    { member, assignment }: { readonly member: GroupMember; readonly assignment: Assignment },
  ) {
    this.#options = options;
    this.#member = member;
    this.#assignment = assignment;
    this.#records = new Records(Math.min(CHUNK_ROWS, options.plan.batch.rows));
  }

  /** @throws MembershipEndedError when the group gives its partitions out anew */
  async run(signal: AbortSignal): Promise<void> {
    const { plan: { topic }, cluster, clock, onAssigned, onWaiting } = this.#options;
    const { ended, partitions } = this.#assignment;
    const onEnd = () => this.#ending.abort(signal.aborted ? signal.reason : ended.reason);
    // At once: reading waits for writes, and so would not end before a destination that is away is back.
    this.#ending.signal.addEventListener("abort", () => void this.#lastWrite(), { once: true });
    for (const one of [signal, ended]) {
      if (one.aborted) onEnd();
      else one.addEventListener("abort", onEnd, { once: true });
    }
    try {
      const onTaking = (reason: string | null) => onWaiting("taking partitions over", reason);
      const ending = this.#ending.signal;
      await untilAvailable(() => this.#takeOver(), { clock, signal: ending, onWaiting: onTaking });
      onAssigned(partitions);
      const fetcher = new Fetcher(cluster, {
        topic,
        clock,
        signal: ending,
        partitions,
        partitionBytes: PARTITION_BYTES,
        fetchBytes: FETCH_BYTES,
        onTopic: (found) => this.#checkTopic(found),
        positionOf: (partition) => this.#held.get(partition)!.next,
        take: (part) =>
          this.#inTurn(async () => {
            await this.#take(part);
            fetcher.pause(this.#finished());
          }),
        onWaiting: (reason) => onWaiting("reading", reason),
      });
      fetcher.pause(this.#finished());
      const tasks = [fetcher.run(), this.#tick(), this.#watchTopic()];
      // Without partitions the fetcher is done at once, and the member waits for some.
      await Promise.all(tasks.map((task) => task.catch((error) => this.#fail(error))));
    } catch (error) {
      this.#fail(error);
    } finally {
      for (const one of [signal, ended]) one.removeEventListener("abort", onEnd);
      await this.#lastWrite();
    }
    if (signal.aborted) return;
    if (this.#failure) throw passing(this.#failure.error);
    throw ended.reason;
  }

  /** Finds out from where each partition is read on. */
  async #takeOver(): Promise<void> {
    const { plan: { name, topic }, cluster, clock, log, publisher, sinks, until, say, onCommitted } = this.#options;
    const { partitions } = this.#assignment;
    const signal = this.#ending.signal;
    const leaders = await cluster.leaders(topic);
    if (!leaders) throw new UnavailableError(`Topic ${topic} does not exist (yet)`);
    this.#partitionCount = leaders.leaders.length;
    this.#topicId = leaders.id;
    const committed = await this.#member.offsets([...leaders.leaders.keys()], signal);
    for (const [partition, { offset, metadata }] of committed) {
      const progress = readProgress(metadata);
      if (isAnother(progress.topicId, leaders.id)) throw isNew(this.#options.plan);
      onCommitted(partition, offset, progress);
    }
    const place = leaders.id === null ? { topic } : { topic, topicId: leaders.id };
    const earliest = await cluster.offsets(topic, partitions, "earliest");
    const latest = await cluster.offsets(topic, partitions, "latest");
    const starts = new Map<number, number>();
    const begun = new Map<number, GroupOffset>();
    this.#held.clear();
    for (const partition of partitions) {
      const first = earliest.get(partition)!;
      const known = committed.get(partition);
      const delivered = await Promise.all(
        sinks.map((sink) => sink.delivered?.({ ...place, partition }, { signal }) ?? null),
      );
      const from = startOf({ committed: known?.offset ?? null, delivered, first });
      const end = latest.get(partition)!;
      if (from > end) throw madeAnew(this.#options.plan, { partition, from, end });
      const before = readProgress(known?.metadata ?? "");
      const lost = Math.max(0, first - from);
      if (lost > 0) {
        say(
          "error",
          `${topic}/${partition}: records ${from} to ${first - 1} were deleted from the log before they were read`,
        );
      }
      const held: Held = {
        next: Math.max(from, first),
        from,
        batch: null,
        progress: { ...before, lost: before.lost + lost, topicId: leaders.id },
        until: until === null ? Infinity : until.get(partition) ?? 0,
        lastSentMs: clock.monotonic(),
      };
      this.#held.set(partition, held);
      starts.set(partition, from);
      if (known === undefined) begun.set(partition, { offset: held.next, metadata: progressText(held.progress) });
      // Nothing is left to do there, though perhaps nothing was ever committed.
      if (from >= held.until) onCommitted(partition, from, held.progress);
    }
    // Before the first write: what is written and not committed is then read again, and counted. Where nothing is committed but
    // something written, the group has forgotten.
    if (begun.size > 0) await this.#member.commit(begun, signal);
    const onWaiting = (reason: string | null) => this.#options.onWaiting("setting records aside", reason);
    this.#letters = new DeadLetters(starts, { name, topic, clock, log, publisher, onWaiting });
  }

  #finished(): number[] {
    return [...this.#held].filter(([, { next, until }]) => next >= until).map(([partition]) => partition);
  }

  /** One part at a time: rows and scanner are shared by all partitions. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async #take(part: FetchedPart): Promise<void> {
    const { partition, frame, start, end, aborted } = part;
    const held = this.#held.get(partition)!;
    const scanner = this.#scanner;
    const until = held.until === Infinity ? undefined : held.until;
    if (held.next >= held.until) return;
    scanner.start(frame, { start, end, aborted, fromOffset: held.next, until });
    if (this.#readers.size > SCHEMAS_MAX) this.#readers.clear();
    for (let more = true; more;) {
      more = scanner.scan(this.#records);
      const unreadable = scanner.unreadable.splice(0);
      const { length } = this.#records;
      if (length > 0) await this.#takeRows(partition, held);
      for (const batch of unreadable) this.#batchOf(partition, held).addUnreadable(batch);
      held.next = Math.max(held.next, scanner.nextOffset);
      const lag = Math.max(0, Math.min(part.highWatermark, held.until) - held.from);
      this.#options.onRead(partition, { records: length + unreadable.length, lag });
    }
    if (held.next >= held.until) await this.#send(partition, held);
  }

  /** Divides the scanned rows into runs of one schema that fit into the batch. */
  async #takeRows(partition: number, held: Held): Promise<void> {
    const { plan: { batch: most }, limit } = this.#options;
    const records = this.#records;
    for (let from = 0; from < records.length;) {
      const id = this.#idAt(from);
      const isFramed = id >= 0 || id <= FRAMED_KEYS;
      const reader = isFramed ? this.#readers.get(id) ?? await this.#lookUp(id) : null;
      const isFull = held.batch !== null && held.batch.bytes + this.#bytesAt(from) > BATCH_BYTES_MAX;
      if (isFull) await this.#send(partition, held);
      const room = most.rows - (held.batch?.records ?? 0);
      const bytesMost = BATCH_BYTES_MAX - (held.batch?.bytes ?? 0);
      let to = from + 1;
      for (let bytes = this.#bytesAt(from); to < records.length && to - from < room; to++) {
        if (this.#idAt(to) !== id || (bytes += this.#bytesAt(to)) > bytesMost) break;
      }
      await limit.take(to - from, this.#ending.signal);
      // From here to the new position without a wait: a batch may be sent in between.
      const batch = this.#batchOf(partition, held);
      const before = batch.bytes;
      if (reader instanceof RowReader) batch.addRows(records, { from, to }, reader);
      else if (reader instanceof KeyReader) batch.addFramedTombstones(records, { from, to }, reader);
      else if (id === TOMBSTONE) { for (let row = from; row < to; row++) batch.addTombstone(records, row); }
      else for (let row = from; row < to; row++) batch.addDead(records, row, reader?.refusal ?? UNFRAMED);
      held.next = records.offsets[to - 1] + 1;
      from = to;
      if (batch.records >= most.rows || batch.bytes >= BATCH_BYTES_MAX) await this.#send(partition, held);
      else if (batch.bytes > before) await this.#keepBelow(BUFFERED_BYTES_MAX);
    }
  }

  /** The schema's id; -1 where none is named, -2 for a null value; of one whose key names a schema, that id from -3 downwards. */
  #idAt(row: number): number {
    const { data, keyStart, keyEnd, valueStart, valueEnd } = this.#records;
    if (valueStart[row] >= 0) return Math.max(NO_SCHEMA, schemaIdAt(data, valueStart[row], valueEnd[row]));
    const keyId = this.#options.plan.key.length === 0 ? -1 : schemaIdAt(data, keyStart[row], keyEnd[row]);
    return keyId < 0 ? TOMBSTONE : FRAMED_KEYS - keyId;
  }

  #bytesAt(row: number): number {
    const { valueStart, valueEnd } = this.#records;
    return Math.max(0, valueEnd[row] - valueStart[row]);
  }

  #batchOf(partition: number, held: Held): PartitionBatch {
    const sinceMs = this.#options.clock.monotonic();
    return held.batch ??= this.#newBatch({ partition, from: held.from, sinceMs });
  }

  #newBatch(about: { readonly partition: number; readonly from: number; readonly sinceMs: number }): PartitionBatch {
    return new PartitionBatch(this.#options.plan, { ...about, topicId: this.#topicId });
  }

  async #keepBelow(most: number): Promise<void> {
    for (;;) {
      const full = [...this.#held].filter(([, { batch }]) => batch !== null);
      if (full.reduce((sum, [, { batch }]) => sum + batch!.bytes, 0) <= most) return;
      const [partition, held] = full.reduce((a, b) => a[1].batch!.bytes >= b[1].batch!.bytes ? a : b);
      await this.#send(partition, held);
    }
  }

  /** Hands the batch over once the one before is written; resolves then, while this one is being written. */
  async #send(partition: number, held: Held): Promise<void> {
    const batch = held.batch ?? this.#newBatch({ partition, from: held.from, sinceMs: 0 });
    const to = held.next;
    held.batch = null;
    held.from = to;
    held.lastSentMs = this.#options.clock.monotonic();
    if (to === batch.from && batch.records === 0) return;
    const before = this.#writing;
    const written = before.then(() => this.#write(held, batch, to));
    this.#writing = written;
    written.catch((error) => this.#fail(error));
    await before;
  }

  async #write(held: Held, batch: PartitionBatch, to: number): Promise<void> {
    const { clock, onCommitted } = this.#options;
    const signal = this.#cutting.signal;
    signal.throwIfAborted();
    const { partition } = batch;
    // Letters first: what a sink finds delivered at the next start is not looked at again.
    await this.#bury(partition, batch.dead);
    const refused = batch.length === 0 ? new Map<number, string>() : await this.#writeRows(batch.rows(to));
    if (refused.size > 0) await this.#bury(partition, await this.#readRefused(batch.rows(to), refused));
    const rejected = batch.dead.length + refused.size;
    const counts = addCounts(held.progress.counts, {
      read: batch.records,
      written: batch.length - refused.size,
      rejected,
      skipped: batch.skipped,
    });
    const progress = { ...held.progress, counts };
    const metadata = progressText(progress);
    const offsets = new Map([[partition, { offset: to, metadata }]]);
    const onWaiting = (reason: string | null) => this.#options.onWaiting("committing", reason);
    const commit = async () => {
      try {
        await this.#member.commit(offsets, signal);
      } catch (error) {
        // It is no outage: to wait would not help.
        if (error instanceof MembershipEndedError) return error;
        throw error;
      }
    };
    const ended = await untilAvailable(commit, { clock, signal, onWaiting });
    if (ended) throw ended;
    held.progress = progress;
    onCommitted(partition, to, progress);
  }

  async #bury(partition: number, letters: readonly SetAsideRecord[]): Promise<void> {
    if (letters.length === 0) return;
    const { clock } = this.#options;
    const signal = this.#cutting.signal;
    const onWaiting = (reason: string | null) => this.#options.onWaiting("setting records aside", reason);
    try {
      await untilAvailable(() => this.#letters!.write(partition, letters, signal), { clock, signal, onWaiting });
    } catch (error) {
      // Another member has the partition already: the group will say so, too.
      if (error instanceof ConflictError) throw new MembershipEndedError(error.message, { cause: error });
      throw error;
    }
  }

  /** Writes to all; the rows that any of them refused for good, and why. */
  async #writeRows(rows: ResultRows): Promise<Map<number, string>> {
    const { sinks, clock, onWaiting } = this.#options;
    const refused = new Map<number, string>();
    const ending = new AbortController();
    const signal = AbortSignal.any([this.#cutting.signal, ending.signal]);
    const epoch = ++this.#epoch;
    const failures: unknown[] = [];
    await Promise.all(sinks.map(async (sink) => {
      const onSink = (reason: string | null) => onWaiting(`writing to ${sink.name}`, reason);
      try {
        await untilAvailable(() => sink.write(rows, { epoch, signal }), { clock, signal, onWaiting: onSink });
      } catch (error) {
        if (error instanceof RejectedRowsError) {
          // It answers again, though not as one would like.
          onSink(null);
          for (const { row, reason } of error.rows) refused.set(row, `${sink.name}: ${reason}`);
          return;
        }
        failures.push(error);
        ending.abort(error);
      }
    }));
    if (failures.length > 0) throw gravest(failures);
    return refused;
  }

  /** The records of refused rows, once more out of the log: batches hold only their values. */
  async #readRefused(rows: ResultRows, refused: ReadonlyMap<number, string>): Promise<SetAsideRecord[]> {
    const { log, clock, onWaiting } = this.#options;
    const { topic, partition, offsets } = rows.origin!;
    const signal = this.#cutting.signal;
    const reasons = new Map(Array.from(refused, ([row, reason]) => [offsets[row], reason]));
    const last = Math.max(...reasons.keys());
    const letters = new Map<number, SetAsideRecord>();
    const read = () =>
      log.read(topic, new Map([[partition, Math.min(...reasons.keys())]]), {
        signal,
        take: (record) => {
          const reason = reasons.get(record.offset);
          if (reason !== undefined) letters.set(record.offset, deadLetter(topic, partition, { ...record, reason }));
          return record.offset < last;
        },
      });
    await untilAvailable(read, { clock, signal, onWaiting: (reason) => onWaiting("reading", reason) });
    // The log may have deleted it meanwhile: that it was refused is still told.
    return Array.from(reasons, ([offset, reason]) =>
      letters.get(offset) ??
        deadLetter(topic, partition, {
          offset,
          reason: `${reason} (the record was deleted from the log before it was set aside)`,
          timestampMs: clock.now(),
          key: null,
          value: null,
          headers: [],
        }));
  }

  /** Sends what is old enough. */
  async #tick(): Promise<void> {
    const { plan: { batch: { everyMs } }, clock } = this.#options;
    const tickMs = Math.min(TICK_MS.most, Math.max(TICK_MS.least, everyMs / 4));
    const signal = this.#ending.signal;
    while (!signal.aborted) {
      await clock.sleep(tickMs, signal).catch(() => {});
      const now = clock.monotonic();
      for (const [partition, held] of this.#held) {
        if (signal.aborted) return;
        const { batch, from, next, lastSentMs } = held;
        // Markers of transactions are no records, but positions move past them.
        const since = batch !== null ? batch.sinceMs : next > from ? lastSentMs : Infinity;
        if (since + everyMs <= now || (next >= held.until && next > from)) await this.#send(partition, held);
      }
    }
  }

  /** A topic that grew has partitions that nobody was given: the member leaves, and the group divides anew. */
  async #watchTopic(): Promise<void> {
    const { plan: { topic }, cluster, clock, topicCheckMs = TOPIC_CHECK_MS } = this.#options;
    const signal = this.#ending.signal;
    while (!signal.aborted) {
      await clock.sleep(topicCheckMs, signal).catch(() => {});
      if (signal.aborted) return;
      const found = await cluster.leaders(topic).catch(() => null);
      if (found === null) continue;
      this.#checkTopic(found);
      if (found.leaders.length === this.#partitionCount) continue;
      await this.#lastWrite();
      await this.#member.leave();
    }
  }

  /** A topic that was deleted and made anew has other records at the same offsets. */
  #checkTopic({ id }: TopicLeaders): void {
    if (isAnother(this.#topicId, id)) throw isNew(this.#options.plan);
  }

  /** Asks the registry until it answers: a record of unknown schema waits, it is not buried. */
  async #lookUp(id: number): Promise<Reader> {
    const { plan, registry, clock, onWaiting } = this.#options;
    const signal = this.#ending.signal;
    const { capacity } = this.#records;
    const find = async (): Promise<Reader> => {
      const schemaId = id >= 0 ? id : FRAMED_KEYS - id;
      const writer = await registry.schemaById(schemaId);
      if (writer === null) {
        return { refusal: `schema id ${schemaId}${id < 0 ? " of the key" : ""} is not in the registry` };
      }
      if (id < 0) return new KeyReader(writer, { plan, capacity });
      const columns = plan.columns.slice(0, -ORIGIN_COLUMNS.length);
      return new RowReader({ writer, reader: plan.schema, columns, capacity });
    };
    const found = await untilAvailable(
      () =>
        find().catch((error) => {
          const isRefused = error instanceof MalformedRecordError || error instanceof ConfigError ||
            error instanceof IncompatibleSchemaError;
          if (!isRefused) throw error;
          return { refusal: (error as Error).message };
        }),
      {
        clock,
        signal,
        firstDelayMs: BACK_OFF_MS.first,
        delayMsMax: BACK_OFF_MS.most,
        onWaiting: (reason) => onWaiting("schemas", reason),
      },
    );
    // One that was not there may be registered any time.
    if (!("refusal" in found)) this.#readers.set(id, found);
    return found;
  }

  #fail(error: unknown): void {
    if (this.#ending.signal.aborted && !(this.#failure === null && isOwn(error))) return;
    this.#failure ??= { error };
    this.#ending.abort(error);
  }

  /** Lets the write under way end, for a while: what is committed need not be written again. Begins once, whoever calls. */
  #lastWrite(): Promise<void> {
    return this.#ended ??= this.#endWriting();
  }

  async #endWriting(): Promise<void> {
    const { clock } = this.#options;
    this.#ending.abort(new MembershipEndedError("The member joins again"));
    const done = new AbortController();
    const enough = clock.sleep(LAST_WRITE_MS, done.signal).catch(() => {});
    await Promise.race([this.#writing.catch(() => {}), enough]);
    done.abort();
    this.#cutting.abort(this.#ending.signal.reason);
    await this.#writing.catch(() => {});
    await this.#turn;
  }
}

/** What reads the records of a schema, or why nothing can. */
type Reader = RowReader | KeyReader | { readonly refusal: string };

const NO_SCHEMA = -1;
const TOMBSTONE = -2;
const FRAMED_KEYS = -3;
const UNFRAMED = "the value does not start with a schema id (0x00 and four bytes)";

/**
 * The group's offset; where that is forgotten, what all destinations have. What a destination has beyond the group's offset is read
 * again, so that it is counted, and found there.
 */
function startOf(
  { committed, delivered, first }: {
    readonly committed: number | null;
    readonly delivered: readonly (number | null)[];
    readonly first: number;
  },
): number {
  if (committed !== null) return committed;
  const known = delivered.filter((offset) => offset !== null);
  return known.length === delivered.length ? Math.min(...known) : first;
}

function madeAnew(
  { name, topic }: DeliveryPlan,
  { partition, from, end }: { readonly partition: number; readonly from: number; readonly end: number },
): ConfigError {
  return new ConfigError({
    where: name,
    problem:
      `${topic}/${partition} ends at offset ${end}, and was delivered up to ${from}: the topic was made anew, or its log lost ` +
      "its end. Give the delivery and its destinations new names, so that it begins with what is there",
  });
}

/** Whether ids are of two topics; a broker too old for ids has none. */
function isAnother(before: string | null, now: string | null): boolean {
  return before !== null && now !== null && before !== now;
}

function isNew({ name, topic }: DeliveryPlan): ConfigError {
  return new ConfigError({
    where: name,
    problem: `${topic} was deleted and made anew: its offsets mean other records now. Give the delivery and its ` +
      "destinations new names, so that it begins with what is there",
  });
}

/** Whether it is a failure of the work itself, and not the end of it told by a signal. */
function isOwn(error: unknown): boolean {
  return !(error instanceof MembershipEndedError) && !(error instanceof DOMException);
}

/** Where records are gone before they were read, it is read on from what is there. */
function passing(error: unknown): unknown {
  const isPassing = error instanceof OffsetOutOfRangeError;
  return isPassing ? new UnavailableError(error.message.split(" To begin anew")[0], { cause: error }) : error;
}
