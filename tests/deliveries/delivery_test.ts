import assert from "node:assert/strict";
import { avroType, type Json } from "../../pipeline/codec/avro_values.ts";
import { UnavailableError } from "../../pipeline/errors.ts";
import { jsonFiles, parquetFiles } from "../../pipeline/mod.ts";
import type { AvroSchema } from "../../pipeline/plan/plan.ts";
import { createDiskStore } from "../../pipeline/sinks/lake/disk_store.ts";
import { SmallDisk } from "../faults/small_disk.ts";
import { readFiles, readParquet } from "../sinks/files/read_files.ts";
import { eventually, item, SCHEMA_ID, TOPIC, world } from "./world.ts";

const never = new AbortController().signal;
const to = [jsonFiles("items")];

function idsOf(lines: readonly Readonly<Record<string, unknown>>[]): number[] {
  return lines.map(({ id }) => id as number).sort((a, b) => a - b);
}

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

Deno.test("a bounded delivery ends when all that was there is in files, each record once, and says what it counted", async () => {
  await using at = await world(4);
  await at.write(upTo(1_000).map(item));
  const delivery = await at.delivery({ to, consumers: 3, batchRows: 100 });
  await delivery.run(never, { isBounded: true });
  const store = createDiskStore({ folder: `${at.dataDir}/files/items` });
  const { lines, manifests, orphans } = await readFiles(store);
  assert.deepEqual(idsOf(lines), upTo(1_000));
  assert.deepEqual(orphans, []);
  assert.ok(manifests.every(({ rows }) => rows <= 100), "batches are no larger than told");
  assert.deepEqual(new Set(manifests.map(({ file }) => file.split("/")[0])).size, 3);
  const five = lines.find(({ id }) => id === 5)!;
  assert.deepEqual({ ...five, kafka_offset: 0, kafka_partition: 0 }, {
    id: 5,
    name: "item 5",
    price: "5.50",
    tags: ["a", "5"],
    at: "2023-11-14T22:13:20.005Z",
    kafka_partition: 0,
    kafka_offset: 0,
    kafka_timestamp: "2023-11-14T22:13:20.000Z",
  });
  const { counts, state, topic } = delivery.status();
  assert.deepEqual({ counts, state, topic }, {
    counts: { read: 1_000, written: 1_000, rejected: 0, skipped: 0 },
    state: "stopped",
    topic: TOPIC,
  });
  // Another run has nothing to do, and another process knows the counts.
  const again = await at.delivery({ to, consumers: 1 });
  await again.run(never, { isBounded: true });
  assert.equal((await readFiles(store)).lines.length, 1_000);
  await at.write([item(1_000)]);
  await again.run(never, { isBounded: true });
  assert.deepEqual(again.status().counts, { read: 1_001, written: 1_001, rejected: 0, skipped: 0 });
  assert.deepEqual(idsOf((await readFiles(store)).lines), upTo(1_001));
});

Deno.test("as Parquet a topic's records are in files, each once, with the values that were written", async () => {
  await using at = await world(3);
  await at.write(upTo(1_000).map(item));
  const delivery = await at.delivery({ to: [parquetFiles("rows"), jsonFiles("lines")], consumers: 2, batchRows: 100 });
  await delivery.run(never, { isBounded: true });
  const { rows, orphans } = await readParquet(createDiskStore({ folder: `${at.dataDir}/files/rows` }));
  assert.deepEqual(orphans, []);
  const { lines } = await readFiles(createDiskStore({ folder: `${at.dataDir}/files/lines` }));
  const byId = (list: readonly Readonly<Record<string, unknown>>[]) =>
    list.toSorted((a, b) => Number(a.id) - Number(b.id));
  assert.deepEqual(
    byId(rows),
    byId(lines).map((line) => ({
      ...line,
      id: `${line.id}`,
      tags: JSON.stringify(line.tags),
      at: `${1_000 * Date.parse(line.at as string)}`,
      kafka_offset: `${line.kafka_offset}`,
      kafka_timestamp: `${1_000 * Date.parse(line.kafka_timestamp as string)}`,
    })),
  );
  assert.deepEqual(delivery.status().counts, { read: 1_000, written: 1_000, rejected: 0, skipped: 0 });
});

for (const builder of [jsonFiles, parquetFiles]) {
  Deno.test(`${builder.name}: a full disk is waited for, and when there is room again each record is there once`, async () => {
    const disk = await SmallDisk.open("4m");
    if ("why" in disk) return console.log(`left out: ${disk.why}`);
    await using _ = disk;
    await using at = await world(1);
    await at.write(upTo(500).map(item));
    const url = `file://${disk.folder}/out`;
    await Deno.mkdir(`${disk.folder}/out`);
    await disk.fill();
    const delivery = await at.delivery({ to: [builder("items", { url })], batchRows: 100 });
    const running = delivery.run(never, { isBounded: true });
    await eventually(
      () => delivery.status().state === "waiting" && /space/.test(delivery.status().reason ?? ""),
      () => delivery.status(),
    );
    assert.equal(delivery.status().counts.written, 0);
    await disk.empty();
    await running;
    const store = createDiskStore({ folder: `${disk.folder}/out/items` });
    const read = builder === jsonFiles ? (await readFiles(store)).lines : (await readParquet(store)).rows;
    assert.deepEqual(read.map(({ id }) => Number(id)).sort((a, b) => a - b), upTo(500));
  });
}

Deno.test("what is no record is a dead letter, once, and a record without a value says that its key is gone", async () => {
  await using at = await world(2);
  const text = new TextEncoder();
  const none = { headers: [], timestampMs: 1 };
  await at.write([
    item(1),
    { key: text.encode("rubbish"), value: text.encode("rubbish"), ...none },
    { key: text.encode("1"), value: null, ...none },
    { key: text.encode("cut"), value: item(4).value!.slice(0, 9), ...none },
    { key: text.encode("x"), value: null, ...none },
    item(6),
  ]);
  const delivery = await at.delivery({ to, key: ["id"] });
  await delivery.run(never, { isBounded: true });
  const { lines } = await readFiles(createDiskStore({ folder: `${at.dataDir}/files/items` }));
  assert.deepEqual(
    lines.map(({ id, _deleted }) => [id, _deleted]).sort(),
    [[1, undefined], [1, true], [6, undefined]].sort(),
  );
  const dead: string[] = [];
  const from = await at.log.offsets(`${TOPIC}.dead`, "earliest");
  await at.log.read(`${TOPIC}.dead`, from, {
    signal: never,
    take: ({ key }) => void dead.push(new TextDecoder().decode(key!)),
  });
  assert.deepEqual(dead.sort(), ["cut", "rubbish", "x"]);
  assert.deepEqual(delivery.status().counts, { read: 6, written: 3, rejected: 3, skipped: 0 });
});

Deno.test("a record without a value whose key is framed Avro is read by the key's schema: a record's fields, or a value alone", async () => {
  await using at = await world(1);
  const keyed = (schemaId: number, schema: AvroSchema, key: unknown) => {
    at.schemas.set(schemaId, schema);
    return { key: avroType(schema).encodeFramed(schemaId, key as Json), value: null, headers: [], timestampMs: 1 };
  };
  const record = (fields: readonly AvroSchema[]) => ({ type: "record", name: "Key", fields });
  const both = record([{ name: "name", type: "string" }, { name: "id", type: "int" }] as unknown as AvroSchema[]);
  const nullable = record([{ name: "id", type: ["null", "long"] }] as unknown as AvroSchema[]);
  const other = record([{ name: "x", type: "long" }] as unknown as AvroSchema[]);
  await at.write([
    item(1),
    keyed(100, both as AvroSchema, { name: "item 1", id: 1 }),
    keyed(101, "long", 2),
    keyed(102, nullable as AvroSchema, { id: 3 }),
    keyed(102, nullable as AvroSchema, { id: null }),
    keyed(103, other as AvroSchema, { x: 1 }),
    keyed(104, "string", "no number"),
    { key: Uint8Array.of(0, 0, 0, 1, 0, 2), value: null, headers: [], timestampMs: 1 },
    { ...keyed(101, "long", 2), key: Uint8Array.of(0, 0, 0, 0, 101) },
    { key: new TextEncoder().encode("4"), value: null, headers: [], timestampMs: 1 },
  ]);
  const delivery = await at.delivery({ to, key: ["id"] });
  await delivery.run(never, { isBounded: true });
  const { lines } = await readFiles(createDiskStore({ folder: `${at.dataDir}/files/items` }));
  assert.deepEqual(
    lines.map(({ id, kafka_offset, _deleted }) => [id, kafka_offset, _deleted]),
    [[1, 0, undefined], [1, 1, true], [2, 2, true], [3, 3, true], [4, 9, true]],
  );
  assert.deepEqual(delivery.status().counts, { read: 10, written: 5, rejected: 5, skipped: 0 });
  const pair = await at.delivery({ to: [jsonFiles("pairs")], key: ["id", "name"], name: "pairs" });
  await pair.run(never, { isBounded: true });
  const pairs = await readFiles(createDiskStore({ folder: `${at.dataDir}/files/pairs` }));
  assert.deepEqual(pairs.lines.map(({ id, name }) => [id, name]), [[1, "item 1"], [1, "item 1"]]);
});

Deno.test("two processes share the partitions; what one leaves the other takes, and nothing is lost or doubled", async () => {
  await using at = await world(6);
  const first = await at.delivery({ to, consumers: 2, batchRows: 50, batchEvery: "20ms" });
  const second = await at.delivery({ to, consumers: 2, batchRows: 50, batchEvery: "20ms" });
  const ends = [new AbortController(), new AbortController()];
  const runs = [first.run(ends[0].signal)];
  let written = 0;
  const writing = (async () => {
    for (; written < 6_000; written += 200) {
      await at.write(Array.from({ length: 200 }, (_, i) => item(written + i)));
      await new Promise((resolve) => setTimeout(resolve, 40));
    }
  })();
  const held = () => [first, second].map((delivery) => delivery.status().details.partitions);
  await eventually(() => held()[0] === 6, held);
  runs.push(second.run(ends[1].signal));
  await eventually(() => held()[0] === 3 && held()[1] === 3, held);
  await writing;
  ends[0].abort();
  await runs[0];
  await eventually(() => held()[1] === 6, held);
  await at.write(upTo(60).map((i) => item(6_000 + i)));
  const store = createDiskStore({ folder: `${at.dataDir}/files/items` });
  await eventually(async () => (await readFiles(store)).lines.length >= 6_060, () => second.status());
  ends[1].abort();
  await runs[1];
  assert.deepEqual(idsOf((await readFiles(store)).lines), upTo(6_060));
  assert.deepEqual(second.status().counts, { read: 6_060, written: 6_060, rejected: 0, skipped: 0 });
});

Deno.test("while the registry is away records of an unknown schema wait; of one that it does not have they are dead letters", async () => {
  await using at = await world(1);
  await at.write([item(1)]);
  const { schemaById } = at.registry;
  let isAway = true;
  at.registry.schemaById = (id) =>
    isAway ? Promise.reject(new UnavailableError("the registry is away")) : schemaById(id);
  const delivery = await at.delivery({ to });
  const run = delivery.run(never, { isBounded: true });
  await eventually(
    () => delivery.status().state === "waiting" && /away/.test(delivery.status().reason!),
    () => delivery.status(),
  );
  isAway = false;
  await run;
  assert.equal(delivery.status().counts.written, 1);
  at.schemas.delete(SCHEMA_ID);
  await at.write([item(2)]);
  await (await at.delivery({ to })).run(never, { isBounded: true });
  const reasons: string[] = [];
  await at.log.read(`${TOPIC}.dead`, await at.log.offsets(`${TOPIC}.dead`, "earliest"), {
    signal: never,
    take: ({ headers }) => {
      const texts = headers.map(([, value]) => new TextDecoder().decode(value!));
      reasons.push(texts.find((text) => text.includes("registry")) ?? "");
    },
  });
  assert.deepEqual(reasons, [`schema id ${SCHEMA_ID} is not in the registry`]);
});
