import assert from "node:assert/strict";
import { type Clock, systemClock } from "../../pipeline/clock.ts";
import { ConflictError, UnavailableError } from "../../pipeline/errors.ts";
import { KafkaAdmin } from "../../pipeline/log/admin.ts";
import { Cluster } from "../../pipeline/log/cluster.ts";
import { createCommittedLog } from "../../pipeline/log/committed_log.ts";
import type { BrokerConnection } from "../../pipeline/log/connection.ts";
import { Fetcher } from "../../pipeline/log/fetcher.ts";
import { Producer } from "../../pipeline/log/producer.ts";
import { TransactionCoordinator } from "../../pipeline/log/transaction_coordinator.ts";
import type { ProducerIdentity } from "../../pipeline/log/transaction_requests.ts";
import { createTransactionalPublisher } from "../../pipeline/log/transactional_publisher.ts";
import type { OutgoingPart, TransactionalPublisher } from "../../pipeline/log/transactions.ts";
import { batchOf, plain, scanAll, withRecords } from "./batches.ts";
import { COMPRESSORS } from "./compressors.ts";
import { Proxy } from "./proxy.ts";

const forever = new AbortController().signal;
const text = new TextEncoder();
const PARTITIONS = 3;
const OPTIONS = { clientId: "test", ssl: false, sasl: null };

/** A broker to test against, one node; other tests may use it too. */
export interface SubjectCluster extends AsyncDisposable {
  readonly brokers: readonly string[];
}

/** A cluster of one node that is only reached through a proxy, whatever address the node tells. */
class ThroughProxy extends Cluster {
  readonly #proxy: Proxy;

  constructor(proxy: Proxy) {
    super([proxy.address], OPTIONS);
    this.#proxy = proxy;
  }

  override at(): Promise<BrokerConnection> {
    const [host, port] = this.#proxy.address.split(":");
    return super.at(host, Number(port));
  }

  override any(): Promise<BrokerConnection> {
    return this.at();
  }

  override node(): Promise<BrokerConnection> {
    return this.at();
  }
}

/** One test's topic and transactional id on the subject. */
class Bench implements AsyncDisposable {
  readonly #parts = new AsyncDisposableStack();
  readonly #brokers: readonly string[];
  readonly cluster: Cluster;
  readonly topic = `transactions-${crypto.randomUUID()}`;
  readonly transactionalId = `id-${crypto.randomUUID()}`;

  constructor(subject: SubjectCluster) {
    this.#brokers = subject.brokers;
    this.#parts.use(subject);
    this.cluster = this.#parts.use(new Cluster(subject.brokers, OPTIONS));
  }

  async open(topics = [this.topic]): Promise<this> {
    const admin = new KafkaAdmin(this.#brokers, OPTIONS, "test");
    await admin.ensureTopics(topics.map((topic) => ({ topic, partitions: PARTITIONS })));
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.disposeAsync();
  }

  proxied(): { proxy: Proxy; cluster: Cluster } {
    const [hostname, port] = this.#brokers[0].split(":");
    const proxy = this.#parts.use(new Proxy({ hostname: "127.0.0.1", port: 0 }, { hostname, port: Number(port) }));
    proxy.byFrame = true;
    return { proxy, cluster: this.#parts.use(new ThroughProxy(proxy)) };
  }

  publisher(
    options: { cluster?: Cluster; transactionTimeoutMs?: number; clock?: Clock } = {},
  ): TransactionalPublisher {
    const { cluster = this.cluster, clock = systemClock, ...rest } = options;
    return createTransactionalPublisher(cluster, {
      transactionalId: this.transactionalId,
      clock,
      signal: forever,
      ...rest,
    });
  }

  async claimed(options: Parameters<Bench["publisher"]>[0] = {}): Promise<TransactionalPublisher> {
    const publisher = this.publisher(options);
    await publisher.claim({ signal: forever });
    return publisher;
  }

  /** The coordinator as only a careless client asks it: transactions begin and do not end. */
  coordinator(transactionTimeoutMs = 60_000): TransactionCoordinator {
    const { transactionalId } = this;
    return new TransactionCoordinator(this.cluster, { transactionalId, transactionTimeoutMs, clock: systemClock });
  }

  /** Resolves when nothing of the last transaction is pending, so that the next one takes as many steps as any other. */
  async settled(): Promise<void> {
    const coordinator = this.coordinator();
    await until(async () => !(await coordinator.describe(forever))!.state.startsWith("Prepare"));
  }

  batches(producer: ProducerIdentity): Producer {
    const transaction = { id: this.transactionalId, producer };
    return new Producer(this.cluster, { clock: systemClock, signal: forever, acks: -1, transaction });
  }

  /** Every committed value by partition. */
  async committed(topic = this.topic): Promise<string[][]> {
    const log = createCommittedLog(this.cluster, { clock: systemClock });
    const values: string[][] = Array.from({ length: PARTITIONS }, () => []);
    const latest = await log.offsets(topic, "latest");
    const ends = await log.read(topic, await log.offsets(topic, "earliest"), {
      signal: forever,
      take: ({ partition, value }) => void values[partition].push(new TextDecoder().decode(value!)),
    });
    assert.deepEqual(new Map([...ends].sort()), new Map([...latest].sort()));
    return values;
  }

  /** A record for each partition. */
  parts(value: string, topic = this.topic): OutgoingPart[] {
    return Array.from({ length: PARTITIONS }, (_, partition) => ({ topic, partition, records: [record(value)] }));
  }
}

function record(value: string) {
  return { key: null, value: text.encode(value), headers: [], timestampMs: 1_700_000_000_000 };
}

const everywhere = (...values: string[]) => Array.from({ length: PARTITIONS }, () => values);

/** Waits until a thing that takes a while is so. */
async function until(isSo: () => Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + 60_000;
  while (!await isSo()) {
    assert.ok(performance.now() < giveUpAt, "it does not become so");
    await systemClock.sleep(50);
  }
}

/** What transactions promise, on a broker, as tests. `open` gives one, the test's own or shared. */
export function transactionContract(name: string, open: () => Promise<SubjectCluster>): void {
  for (const { what, fn } of transactionTests(open)) Deno.test(`${name}: ${what}`, fn);
}

export interface TransactionTest {
  readonly what: string;
  readonly fn: () => Promise<void>;
}

/** The same, for one test with steps. */
export function transactionTests(open: () => Promise<SubjectCluster>): TransactionTest[] {
  const tests: TransactionTest[] = [];
  const bench = async () => await new Bench(await open()).open();
  const test = (what: string, fn: () => Promise<void>) => tests.push({ what, fn });

  test("a commit tells the offsets after what it wrote, and all of it is read, in order", async () => {
    await using one = await bench();
    const other = `${one.topic}-other`;
    await one.open([other]);
    const publisher = await one.claimed();
    assert.equal(await publisher.partitionCount(one.topic), PARTITIONS);
    const part = (partition: number, ...values: string[]) => ({
      topic: one.topic,
      partition,
      records: values.map(record),
    });
    const parts = [part(0, "a", "b"), part(2, "c"), part(0, "d"), part(1), { ...part(1, "e"), topic: other }];
    assert.deepEqual(await publisher.commit(parts, { signal: forever }), [2, 1, 3, -1, 1]);
    // Markers took an offset each.
    assert.deepEqual(await publisher.commit([part(0, "f")], { signal: forever }), [5]);
    assert.deepEqual(await publisher.commit([part(0)], { signal: forever }), [-1]);
    await (await one.claimed()).claim({ signal: forever });
    assert.deepEqual(await one.committed(), [["a", "b", "d", "f"], [], ["c"]]);
    assert.deepEqual(await one.committed(other), [[], ["e"], []]);
  });

  test("a record comes back as it was: key, value, headers, time, nulls", async () => {
    await using one = await bench();
    const records = [
      { key: text.encode("k"), value: null, headers: [["a", text.encode("é")], ["a", null]] as const, timestampMs: 5 },
      { key: null, value: new Uint8Array(0), headers: [], timestampMs: 7 },
    ];
    await (await one.claimed()).commit([{ topic: one.topic, partition: 1, records }], { signal: forever });
    await one.claimed();
    const seen: unknown[] = [];
    const log = createCommittedLog(one.cluster, { clock: systemClock });
    await log.read(one.topic, new Map([[1, 0]]), { signal: forever, take: (record) => void seen.push(record) });
    assert.deepEqual(seen, records.map((record, offset) => ({ ...record, partition: 1, offset })));
  });

  test("a transaction larger than a batch and than what may be on its way is written whole", async () => {
    await using one = await bench();
    const publisher = await one.claimed();
    const value = "x".repeat(100_000);
    const records = Array.from({ length: 150 }, (_, i) => record(`${i} ${value}`));
    const parts = [0, 1, 2].map((partition) => ({ topic: one.topic, partition, records }));
    assert.deepEqual(await publisher.commit(parts, { signal: forever }), [150, 150, 150]);
    await one.claimed();
    const expected = records.map((_, i) => String(i));
    assert.deepEqual(
      (await one.committed()).map((values) => values.map((v) => v.split(" ")[0])),
      [0, 1, 2].map(() => expected),
    );
  });

  test("what was not committed is not read, by any reader, in any compression", async () => {
    await using one = await bench();
    const coordinator = one.coordinator();
    const expected: string[] = [];
    for (const { name, codec, compress } of COMPRESSORS) {
      for (const commit of [true, false, true]) {
        const producer = await coordinator.initialize(null, forever);
        await coordinator.addPartitions(producer, new Map([[one.topic, new Set([0])]]), forever);
        const batches = one.batches(producer);
        for (const i of [1, 2]) {
          const values = [`${name} ${commit} ${i}`, `${name} again`];
          let batch: Uint8Array = batchOf(plain(...values));
          if (codec > 0) batch = withRecords(batch, codec, compress(batch.subarray(61)));
          await batches.send(one.topic, 0, batch);
          if (commit) expected.push(...values);
        }
        await coordinator.end(producer, commit, forever);
      }
    }
    await coordinator.initialize(null, forever);
    assert.deepEqual((await one.committed())[0], expected);

    const stop = new AbortController();
    const fetched: string[] = [];
    let position = 0;
    await new Fetcher(one.cluster, {
      topic: one.topic,
      partitions: [0],
      clock: systemClock,
      signal: stop.signal,
      // Aborted transactions begin in one answer and end in the next.
      partitionBytes: 300,
      fetchBytes: 300,
      positionOf: () => position,
      onWaiting: (reason) => assert.equal(reason, null),
      take: ({ frame, start, end, fromOffset, aborted, highWatermark }) => {
        const scanned = scanAll(frame.slice(start, end), { fromOffset, aborted });
        fetched.push(...scanned.records.map(({ value }) => new TextDecoder().decode(value!)));
        position = scanned.nextOffset;
        if (position === highWatermark) stop.abort();
        return Promise.resolve();
      },
    }).run();
    assert.deepEqual(fetched, expected);
  });

  test("an open transaction holds readers of committed records back, and no longer", async () => {
    await using one = await bench();
    const coordinator = one.coordinator();
    const producer = await coordinator.initialize(null, forever);
    await coordinator.addPartitions(producer, new Map([[one.topic, new Set([0])]]), forever);
    await one.batches(producer).send(one.topic, 0, batchOf(plain("pending")));
    const plainProducer = new Producer(one.cluster, { clock: systemClock, signal: forever, acks: -1 });
    await plainProducer.send(one.topic, 0, batchOf(plain("behind it")));
    assert.deepEqual((await one.committed())[0], []);
    const log = createCommittedLog(one.cluster, { clock: systemClock });
    assert.equal((await log.offsets(one.topic, "latest")).get(0), 0);
    const whole: string[] = [];
    const take = ({ value }: { value: Uint8Array | null }) => void whole.push(new TextDecoder().decode(value!));
    const fromStart = new Map([[0, 0]]);
    const impatient = createCommittedLog(one.cluster, { clock: systemClock, openMsMax: 200 });
    await assert.rejects(
      impatient.read(one.topic, fromStart, { take, signal: forever, isWhole: true }),
      /a transaction of another writer is open at offset 0 of partition 0/,
    );
    const patient = createCommittedLog(one.cluster, { clock: systemClock, openMsMax: 60_000 });
    const reading = patient.read(one.topic, fromStart, { take, signal: forever, isWhole: true });
    reading.catch(() => {});
    await coordinator.end(producer, true, forever);
    await reading;
    assert.deepEqual(whole, ["pending", "behind it"], "read to the end of all that was written, once that was decided");
    await coordinator.initialize(producer, forever);
    assert.deepEqual((await one.committed())[0], ["pending", "behind it"]);
  });

  test("a reader ends a partition when it says so, and starts where there is something", async () => {
    await using one = await bench();
    const publisher = await one.claimed();
    for (const value of ["a", "b", "c"]) await publisher.commit(one.parts(value), { signal: forever });
    await publisher.claim({ signal: forever });
    await one.claimed();
    const seen: string[] = [];
    const log = createCommittedLog(one.cluster, { clock: systemClock });
    const take = ({ partition, value }: { partition: number; value: Uint8Array | null }) => {
      seen.push(`${partition}${new TextDecoder().decode(value!)}`);
      if (partition === 0) return false;
    };
    const ends = await log.read(one.topic, new Map([[0, 0], [1, 2], [2, 999]]), { signal: forever, take });
    assert.deepEqual(seen.sort(), ["0a", "1b", "1c"]);
    assert.deepEqual(Object.fromEntries(ends), { 0: 1, 1: 6, 2: 999 });
    assert.deepEqual([...await log.read(one.topic, new Map(), { signal: forever, take })], []);
    await assert.rejects(log.offsets(`${one.topic}-missing`, "latest"), UnavailableError);
    await assert.rejects(log.read(one.topic, new Map([[7, 0]]), { signal: forever, take }), UnavailableError);
    const gone = AbortSignal.abort(new Error("enough"));
    await assert.rejects(log.read(one.topic, new Map([[1, 0]]), { signal: gone, take }), /enough/);
  });

  test("whoever claims later shuts the other out for good, whatever that one tries", async () => {
    await using one = await bench();
    const old = await one.claimed();
    await old.commit(one.parts("old"), { signal: forever });
    const newer = await one.claimed();
    const conflict = (error: Error) => {
      assert.ok(error instanceof ConflictError, String(error));
      assert.match(error.message, new RegExp(`Another process took over the transactional id ${one.transactionalId}`));
      return true;
    };
    await assert.rejects(old.commit(one.parts("late"), { signal: forever }), conflict);
    await newer.commit(one.parts("new"), { signal: forever });
    await assert.rejects(old.claim({ signal: forever }), conflict);
    await assert.rejects(old.commit(one.parts("later"), { signal: forever }), UnavailableError);
    await newer.commit(one.parts("newer"), { signal: forever });
    await one.claimed();
    assert.deepEqual(await one.committed(), everywhere("old", "new", "newer"));
  });

  test("one that was shut out does not disturb the transaction of its successor", async () => {
    await using one = await bench();
    const old = await one.claimed();
    await old.commit(one.parts("old"), { signal: forever });
    const coordinator = one.coordinator();
    const producer = await coordinator.initialize(null, forever);
    await coordinator.addPartitions(producer, new Map([[one.topic, new Set([0])]]), forever);
    await assert.rejects(old.commit(one.parts("late"), { signal: forever }), ConflictError);
    await one.batches(producer).send(one.topic, 0, batchOf(plain("new")));
    await coordinator.end(producer, true, forever);
    await coordinator.initialize(producer, forever);
    assert.deepEqual(await one.committed(), [["old", "new"], ["old"], ["old"]]);
  });

  test("a transaction whose time was over is not taken for another process", async () => {
    await using one = await bench();
    const { proxy, cluster } = one.proxied();
    const publisher = await one.claimed({ cluster, transactionTimeoutMs: 4_000 });
    await publisher.commit(one.parts("before"), { signal: forever });
    await one.settled();
    // A long pause between the steps of a commit.
    const thawed = Promise.withResolvers<void>();
    let requests = 0;
    proxy.held = thawed.promise;
    proxy.onRequest = () => requests++ === 1 ? "hold" : "pass";
    const coordinator = one.coordinator();
    const late = assert.rejects(publisher.commit(one.parts("too late"), { signal: forever }), (error: Error) => {
      assert.ok(error instanceof UnavailableError, String(error));
      assert.match(error.message, /Kafka ended a transaction of .* by itself/);
      return true;
    });
    await until(async () => (await coordinator.describe(forever))?.state === "CompleteAbort");
    thawed.resolve();
    await late;
    await publisher.claim({ signal: forever });
    await publisher.commit(one.parts("after"), { signal: forever });
    await one.claimed();
    assert.deepEqual(await one.committed(), everywhere("before", "after"));
  });

  test("a writer frozen at any step of a commit, and replaced meanwhile, writes all of it or nothing and is told", async () => {
    await using one = await bench();
    const outcomes: string[] = [];
    const expected: string[] = [];
    for (let frozenAt = 0;; frozenAt++) {
      const { proxy, cluster } = one.proxied();
      const old = await one.claimed({ cluster });
      await old.commit(one.parts(`warm ${frozenAt}`), { signal: forever });
      expected.push(`warm ${frozenAt}`);
      await one.settled();
      const frozen = Promise.withResolvers<void>();
      const thawed = Promise.withResolvers<void>();
      let chunks = 0;
      proxy.onRequest = () => {
        if (chunks++ !== frozenAt) return "pass";
        frozen.resolve();
        return "hold";
      };
      proxy.held = thawed.promise;
      const committed = old.commit(one.parts(`frozen ${frozenAt}`), { signal: forever }).then(
        () => "written",
        (error) => error,
      );
      const first = await Promise.race([frozen.promise, committed]);
      const newer = await one.claimed();
      thawed.resolve();
      const outcome = await committed;
      if (outcome === "written") expected.push(`frozen ${frozenAt}`);
      else assert.ok(outcome instanceof ConflictError, String(outcome));
      outcomes.push(outcome === "written" ? "written" : "refused");
      await newer.commit(one.parts(`new ${frozenAt}`), { signal: forever });
      expected.push(`new ${frozenAt}`);
      if (first !== undefined) break;
    }
    await one.claimed();
    assert.deepEqual(await one.committed(), everywhere(...expected));
    assert.ok(outcomes.length > 5 && outcomes.slice(0, -1).every((outcome) => outcome === "refused"), outcomes.join());
  });

  for (const way of ["request", "answer"] as const) {
    for (const givesUp of [false, true]) {
      const what = givesUp ? "given up and decided by reading" : "waited for";
      test(`a commit whose ${way} is cut at each step in turn, ${what}, is there exactly once`, async () => {
        await using one = await bench();
        const { proxy, cluster } = one.proxied();
        const publisher = await one.claimed({ cluster });
        const expected: string[] = [];
        const ends = { whole: 0, none: 0 };
        for (let cutAt = 0, wasCut = true; wasCut; cutAt++) {
          const value = `commit ${cutAt}`;
          expected.push(value);
          wasCut = false;
          const giveUp = new AbortController();
          let chunks = 0;
          const fate = () => {
            if (chunks++ !== cutAt) return "pass";
            wasCut = true;
            if (givesUp) giveUp.abort(new Error("given up"));
            return "cut";
          };
          await one.settled();
          if (way === "request") proxy.onRequest = fate;
          else proxy.onAnswer = fate;
          const committed = publisher.commit(one.parts(value), { signal: givesUp ? giveUp.signal : forever });
          const outcome = await committed.then(() => null, (error) => error as Error);
          proxy.onRequest = proxy.onAnswer = () => "pass";
          if (outcome === null) continue;
          if (givesUp) assert.equal(outcome.message, "given up");
          else assert.ok(outcome instanceof UnavailableError, String(outcome));
          await publisher.claim({ signal: forever });
          const there = (await one.committed()).map((values) => values.includes(value));
          assert.ok(there.every((is) => is === there[0]), `${value}: ${there}`);
          ends[there[0] ? "whole" : "none"]++;
          if (!there[0]) await publisher.commit(one.parts(value), { signal: forever });
        }
        await one.claimed();
        assert.deepEqual(await one.committed(), everywhere(...expected));
        assert.ok(expected.length > 5, `${expected.length} steps`);
        if (givesUp) assert.ok(ends.none > 2 && (way === "request" || ends.whole > 0), JSON.stringify(ends));
      });
    }
  }
  return tests;
}
