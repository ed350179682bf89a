import assert from "node:assert/strict";
import fc from "fast-check";
import { checkBatches } from "../../../broker/kafka/log/batch.ts";
import { FilePool } from "../../../broker/kafka/log/file_pool.ts";
import { PartitionLog } from "../../../broker/kafka/log/partition_log.ts";
import { WireWriter } from "../../../pipeline/log/wire.ts";
import { batchesIn, committedIn, recordBatch, temporaryFolder } from "./support.ts";

/** What the log should hold, one entry an offset. `null`: a marker. */
interface Entry {
  readonly value: string | null;
  state: "plain" | "open" | "committed" | "aborted";
}

const producers = [1, 2, 3];

/** A partition of small segments, its producers' sequences, and what it should hold. */
class Subject {
  readonly model: Entry[] = [];
  readonly #folder: string;
  #files = new FilePool(4);
  #partition: PartitionLog;
  readonly #sequences = new Map<number, number>();
  readonly #open = new Map<number, Entry[]>();
  #count = 0;

  constructor(folder: string) {
    this.#folder = folder;
    this.#partition = this.#openPartition();
  }

  #openPartition(): PartitionLog {
    return PartitionLog.open(this.#folder, {
      files: this.#files,
      settings: () => ({ segmentBytes: 600, retentionBytes: 1500, retentionMs: -1, appendTime: false }),
      log: () => {},
      nowMs: 0,
    });
  }

  append(producerId: number, records: number): void {
    const values = Array.from({ length: records }, () => `${producerId}/${this.#count++}`);
    const transactional = producerId > 0;
    const baseSequence = this.#sequences.get(producerId) ?? 0;
    const data = recordBatch(
      values,
      transactional ? { producerId, producerEpoch: 0, baseSequence, transactional } : {},
    );
    this.#sequences.set(producerId, baseSequence + records);
    const { baseOffset } = this.#partition.append(data, checkBatches(data, 0, data.length, 1 << 20), 0);
    assert.equal(baseOffset, this.model.length);
    const entries = values.map((value): Entry => ({ value, state: transactional ? "open" : "plain" }));
    this.model.push(...entries);
    if (transactional) this.#open.set(producerId, [...this.#open.get(producerId) ?? [], ...entries]);
  }

  end(producerId: number, commit: boolean): void {
    assert.equal(this.#partition.hasOpenTransaction(producerId), this.#open.has(producerId));
    if (!this.#open.has(producerId)) return;
    this.#partition.appendMarker({ producerId, epoch: 0, commit }, 0);
    for (const entry of this.#open.get(producerId)!) entry.state = commit ? "committed" : "aborted";
    this.#open.delete(producerId);
    this.model.push({ value: null, state: "plain" });
  }

  async restart(how: "close" | "kill" | "no snapshot"): Promise<void> {
    if (how === "close") await this.#partition.close();
    this.#files.closeAll();
    if (how === "no snapshot") await Deno.remove(`${this.#folder}/producers.json`).catch(() => {});
    this.#files = new FilePool(4);
    this.#partition = this.#openPartition();
    assert.equal(this.#partition.endOffset, this.model.length);
    for (const [producerId, entries] of this.#open) {
      if (this.#partition.hasOpenTransaction(producerId)) continue;
      // Of a transaction whose records retention has removed the log may have forgotten that it was open.
      assert.ok(entries.every((entry) => this.model.indexOf(entry) < this.#partition.startOffset));
      for (const entry of entries) entry.state = "plain";
      this.#open.delete(producerId);
    }
  }

  retain(): void {
    this.#partition.retain(0);
  }

  /** Reads all that is committed from somewhere on, in fetches of so many bytes, and compares. */
  async check(from: number, bytesMax: number): Promise<void> {
    await this.#partition.sync();
    const { startOffset, lastStableOffset, endOffset } = this.#partition;
    const isOpen = ({ state }: Entry) => state === "open";
    const firstOpen = this.model.findIndex((entry, offset) => isOpen(entry) && offset >= startOffset);
    const expectedStable = [firstOpen < 0 ? endOffset : firstOpen];
    // One that began before the log does, if the log remembers.
    if (this.model.slice(0, startOffset).some(isOpen)) expectedStable.push(startOffset);
    assert.ok(expectedStable.includes(lastStableOffset), `${lastStableOffset} is none of ${expectedStable}`);
    const first = startOffset + Math.floor(from * (lastStableOffset - startOffset));
    const seen: { offset: number; value: string }[] = [];
    for (let at = first; at < lastStableOffset;) {
      const aborted = this.#partition.abortedTransactions(at, bytesMax)
        .map(({ producerId, firstOffset }) => ({ producerId, first: firstOffset }));
      const writer = new WireWriter(16);
      const bytes = this.#partition.read(at, bytesMax, writer, { atLeastOne: true, level: "committed" });
      assert.ok(bytes > 0);
      assert.ok(this.#partition.bytesFrom(at, 1 << 20, "committed") >= bytes);
      const offset = at;
      seen.push(...committedIn(writer.bytes(), aborted).filter((record) => record.offset >= offset));
      const last = batchesIn(writer.bytes()).at(-1)!;
      at = last.baseOffset + last.records.length;
      assert.ok(at <= lastStableOffset);
    }
    const expected = this.model.flatMap(({ value, state }, offset) =>
      value !== null && state !== "aborted" && offset >= first && offset < lastStableOffset ? [{ offset, value }] : []
    );
    assert.deepEqual(seen, expected);
  }

  close(): void {
    this.#files.closeAll();
  }
}

Deno.test("readers of committed records get them and no others, from any offset, in any pieces, over restarts and retention", async () => {
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ append: fc.constantFrom(0, ...producers), records: fc.integer({ min: 1, max: 4 }) }),
    },
    { weight: 4, arbitrary: fc.record({ end: fc.constantFrom(...producers), commit: fc.boolean() }) },
    { weight: 3, arbitrary: fc.record({ from: fc.double({ min: 0, max: 1, noNaN: true }), bytesMax: fc.nat(900) }) },
    { weight: 1, arbitrary: fc.record({ restart: fc.constantFrom("close", "kill", "no snapshot" as const) }) },
    { weight: 1, arbitrary: fc.constant({ retain: true } as const) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 80, size: "max" }), async (steps) => {
      using folder = temporaryFolder();
      const subject = new Subject(folder.path);
      try {
        for (const step of steps) {
          if ("append" in step) subject.append(step.append, step.records);
          else if ("end" in step) subject.end(step.end, step.commit);
          else if ("from" in step) await subject.check(step.from, step.bytesMax);
          else if ("restart" in step) await subject.restart(step.restart);
          else subject.retain();
        }
        for (const producer of producers) subject.end(producer, true);
        await subject.check(0, 100);
      } finally {
        subject.close();
      }
    }),
    { numRuns: Number(Deno.env.get("RUNS") ?? 60) },
  );
});

Deno.test("a snapshot of records that a power cut took back is thrown away, not believed once the log has grown again", async () => {
  using folder = temporaryFolder();
  const path = `${folder.path}/00000000000000000000.log`;
  const first = new Subject(folder.path);
  first.append(0, 1);
  await first.check(0, 1000);
  const bytes = Deno.statSync(path).size;
  first.append(1, 2);
  await first.restart("close");
  first.close();
  Deno.truncateSync(path, bytes);
  Deno.removeSync(`${folder.path}/00000000000000000000.index`);

  const files = new FilePool(4);
  const open = () =>
    PartitionLog.open(folder.path, {
      files,
      settings: () => ({ segmentBytes: 1 << 20, retentionBytes: -1, retentionMs: -1, appendTime: false }),
      log: () => {},
      nowMs: 0,
    });
  let partition = open();
  assert.deepEqual([partition.endOffset, partition.openTransactions()], [1, []]);
  const data = recordBatch(["a", "b", "c"]);
  partition.append(data, checkBatches(data, 0, data.length, 1000), 0);
  files.closeAll();
  partition = open();
  assert.deepEqual([partition.endOffset, partition.openTransactions()], [4, []]);
  files.closeAll();
});
