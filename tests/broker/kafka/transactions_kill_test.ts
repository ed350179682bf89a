import assert from "node:assert/strict";
import {
  batchesIn,
  brokerIn,
  committedIn,
  killableBroker,
  RawClient,
  temporaryFolder,
  type TestBroker,
} from "./support.ts";
import { committedOffset, TransactionClient } from "./transaction_client.ts";

const writers = 3;
const partitions = [0, 1, 2];
type Outcome = "committed" | "aborted" | "unknown";

/** Transaction `number` of a writer puts these in each partition, and commits `number` as the offset of its group. */
function valuesOf(writer: number, number: number): string[] {
  return [`${writer}/${number}/a`, `${writer}/${number}/b`];
}

/** Takes the writer's id over; a transaction that was decided before the kill may have to be completed first. */
async function takeOver(producer: TransactionClient): Promise<void> {
  const concurrentTransactions = 51;
  for (let tries = 0;; tries++) {
    const error = await producer.initialize();
    if (error === 0) return;
    assert.ok(error === concurrentTransactions && tries < 500, `InitProducerId: ${error}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** One writer's transactions until the broker is gone. Every third is aborted. */
async function write(
  broker: TestBroker,
  writer: number,
  { from, outcomes }: { from: number; outcomes: Map<number, Outcome> },
): Promise<void> {
  using producer = await TransactionClient.open(broker, `writer-${writer}`);
  await producer.client.createTopic("t");
  await takeOver(producer);
  for (let number = from;; number++) {
    const commit = number % 3 !== 0;
    outcomes.set(number, commit ? "unknown" : "aborted");
    assert.deepEqual(await producer.addPartitions("t", partitions), [0, 0, 0]);
    for (const partition of partitions) {
      // acks=1: the commit must not depend on what was asked for the records.
      for (const value of valuesOf(writer, number)) {
        assert.equal(await producer.produce("t", partition, [value], partition === 0 ? -1 : 1), 0);
      }
    }
    assert.equal(await producer.addOffsets(`g${writer}`), 0);
    assert.equal(await producer.commitOffset(`g${writer}`, "t", 0, number), 0);
    assert.equal(await producer.end(commit), 0);
    if (commit) outcomes.set(number, "committed");
  }
}

function committedOf(outcomes: ReadonlyMap<number, Outcome>): number {
  return [...outcomes.values()].filter((outcome) => outcome === "committed").length;
}

/** All batches of a partition, and the values a reader of committed records gets. */
async function readAll(client: RawClient, partition: number) {
  const batches = [];
  const committed = [];
  for (let offset = 0;;) {
    const fetched = await client.fetch("t", offset, { partition, committed: true });
    assert.deepEqual([fetched.error, fetched.stable], [0, fetched.end], "nothing is left open");
    const found = batchesIn(fetched.records);
    if (found.length === 0) return { batches, committed: committed.map(({ value }) => value) };
    batches.push(...found);
    committed.push(...committedIn(fetched.records, fetched.aborted).filter((record) => record.offset >= offset));
    offset = found.at(-1)!.baseOffset + found.at(-1)!.records.length;
  }
}

Deno.test("kill -9 in the middle of transactions: what was committed is there once and whole, of the rest nothing is", async () => {
  using folder = temporaryFolder();
  const outcomes = Array.from({ length: writers }, () => new Map<number, Outcome>());
  const seed = Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 2 ** 31));
  let state = seed;
  const random = () => (state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff) / 0x7fffffff;
  for (let round = 0; round < Number(Deno.env.get("ROUNDS") ?? 4); round++) {
    const { process, broker } = await killableBroker(folder.path);
    const before = outcomes.map(committedOf);
    let isOver = false;
    const load = outcomes.map((outcomes, writer) =>
      write(broker, writer, { from: Math.max(0, ...outcomes.keys()) + 1, outcomes }).catch((error) => {
        if (error instanceof assert.AssertionError) throw error;
      })
    );
    // Before the kill no writer ends by itself.
    Promise.race(load).then(() => isOver = true, () => isOver = true);
    // After progress, not after a time: a slow disk takes few transactions a second.
    const end = performance.now() + 60_000;
    while (
      !isOver && performance.now() < end &&
      outcomes.some((outcomes, writer) => committedOf(outcomes) < before[writer] + 2)
    ) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await new Promise((resolve) => setTimeout(resolve, random() * 450));
    process.kill("SIGKILL");
    await process.status;
    await Promise.all(load);
  }

  await using broker = await brokerIn(folder.path);
  using client = await RawClient.open(broker);
  for (let writer = 0; writer < writers; writer++) {
    using producer = await TransactionClient.open(broker, `writer-${writer}`);
    await takeOver(producer);
  }
  const found: Awaited<ReturnType<typeof readAll>>[] = [];
  for (const partition of partitions) found.push(await readAll(client, partition));
  const why = `SEED=${seed}`;
  for (const { batches } of found) {
    // Between two markers of a producer are records of it: no marker is there twice, and none without a transaction.
    const open = new Set<number>();
    for (const { producerId, transactional, marker } of batches) {
      assert.ok(transactional, why);
      if (marker === null) open.add(producerId);
      else assert.ok(open.delete(producerId), `a marker without a transaction, ${why}`);
    }
    assert.equal(open.size, 0, why);
  }
  for (let writer = 0; writer < writers; writer++) {
    const committed = [];
    for (const [number, outcome] of outcomes[writer]) {
      const expected = valuesOf(writer, number);
      const seen = found.map(({ committed }) => committed.filter((value) => expected.includes(value)));
      const isThere = seen[0].length > 0;
      if (outcome !== "unknown") {
        assert.equal(isThere, outcome === "committed", `${writer}/${number} ${outcome}, ${why}`);
      }
      for (const values of seen) assert.deepEqual(values, isThere ? expected : [], `${writer}/${number}, ${why}`);
      if (isThere) committed.push(number);
    }
    assert.ok(committed.length > 5, `only ${committed.length} were committed by writer ${writer}`);
    const place = { topic: "t", partition: 0, stable: true };
    assert.equal(await committedOffset(client, `g${writer}`, place), committed.at(-1), why);
  }
});
