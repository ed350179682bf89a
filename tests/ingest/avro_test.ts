import assert from "node:assert/strict";
import { deflateRawSync } from "node:zlib";
import fc from "fast-check";
import { KafkaAdmin } from "../../pipeline/log/admin.ts";
import { createRegistryClient } from "../../pipeline/log/registry_client.ts";
import type { AvroSchema } from "../../pipeline/plan/plan.ts";
import { avroFile, block, header, joined, SYNC } from "./avro_file.ts";
import { gzip, NO_SECURITY, openWorld, readTopic, SCHEMA } from "./world.ts";

const AVRO = { "content-type": "application/vnd.apache.avro" };
const readings = SCHEMA as unknown as AvroSchema;
const some = (count: number) => Array.from({ length: count }, (_, i) => ({ id: `r${i}`, value: i % 3 ? i : null }));

Deno.test("a container's records are in the topic as they were written, deflated or not, packed or not", async () => {
  await using world = await openWorld();
  const records = some(1_000);
  for (
    const [codec, type] of [[undefined, "avro/binary"], ["null", AVRO["content-type"]], ["deflate", "avro/binary"]]
  ) {
    const answer = await world.post(avroFile(readings, records, { codec }), { headers: { "content-type": type! } });
    assert.deepEqual([answer.status, answer.body], [201, { topic: "readings", records: 1_000 }]);
  }
  const packed = await gzip(avroFile(readings, records));
  const headers = { ...AVRO, "content-encoding": "gzip" };
  assert.equal((await world.post(packed, { headers, query: "?key=id" })).status, 201);
  const found = await readTopic(world.log, "readings");
  assert.equal(found.length, 4_000);
  const byId = Map.groupBy(found, ({ value }) => (value as { id: string }).id);
  for (const record of records) {
    const all = byId.get(record.id)!;
    assert.deepEqual(all.map(({ value }) => value), Array(4).fill(record));
    assert.deepEqual(all.flatMap(({ key }) => key ?? []), [record.id], "of the request that named the field");
  }
});

Deno.test("a writer's schema that is an older version, or compatible, is taken; what does not fit is named", async () => {
  await using world = await openWorld();
  const wide = {
    ...SCHEMA,
    fields: [...SCHEMA.fields, { name: "unit", type: "string", default: "C" }],
  } as unknown as AvroSchema;
  await createRegistryClient({ url: world.registryUrl }).register("readings-value", wide);
  assert.equal((await world.post(avroFile(readings, some(3)), { headers: AVRO })).status, 201, "the version before");
  const ids = { type: "record", name: "Reading", fields: [{ name: "id", type: "string" }] } as unknown as AvroSchema;
  assert.equal((await world.post(avroFile(ids, [{ id: "x" }]), { headers: AVRO })).status, 201, "not registered");
  const found = await readTopic(world.log, "readings", readings).catch((error) => error);
  assert.match(String(found), /bytes follow the record/, "the last one has the newest schema's field");
  const loose = {
    type: "record",
    name: "Reading",
    fields: [{ name: "id", type: "string" }, { name: "value", type: ["double", "string"] }],
  } as unknown as AvroSchema;
  const records = [{ id: "a", value: 1 }, { id: "b", value: "high" }, { id: "c", value: "low" }];
  const refused = await world.post(avroFile(loose, records), { headers: AVRO });
  assert.equal(refused.status, 422);
  assert.deepEqual(refused.body.errors.map(({ where }: { where: string }) => where), ["record 2", "record 3"]);
});

Deno.test("containers that are damaged, cut or made to harm are refused whole", async () => {
  await using world = await openWorld();
  const good = avroFile(readings, some(250), { codec: "deflate" });
  const schemaText = JSON.stringify(SCHEMA);
  const plain = header({ schemaText });
  const nothing = { type: "record", name: "Reading", fields: [] };
  await createRegistryClient({ url: world.registryUrl }).register("nothing-value", nothing as unknown as AvroSchema);
  await new KafkaAdmin(world.brokers, NO_SECURITY, "test").ensureTopics([{ topic: "nothing", partitions: 1 }]);
  const cases: [string, Uint8Array<ArrayBuffer>, number, RegExp][] = [
    ["no container", new TextEncoder().encode("PAR1 and more"), 400, /does not begin as/],
    ["cut in the header", good.slice(0, 40), 400, /ends inside the header/],
    ["cut in a block", good.slice(0, -20), 400, /ends inside a block/],
    ["another sync", joined([plain, block(new Uint8Array(4), 1, 4, SYNC.map((byte) => byte ^ 1))]), 400, /sync marker/],
    ["snappy", header({ schemaText, codec: "snappy" }), 400, /null and deflate/],
    ["a schema that is none", header({ schemaText: '{"type":"recor"}' }), 400, /schema that is none/],
    ["a schema that is no JSON", header({ schemaText: "{" }), 400, /not JSON/],
    ["more records than there are", joined([plain, block(new Uint8Array([2, 97, 0]), 2)]), 400, /record 2/],
    ["fewer", joined([plain, block(new Uint8Array([2, 97, 0, 2, 98, 0]), 1)]), 400, /3 bytes after its records/],
    ["a negative count", joined([plain, block(new Uint8Array(), -1)]), 400, /block of -1 records/],
    ["a huge size", joined([plain, block(new Uint8Array(), 1, 2 ** 40)]), 400, /16777216 bytes at most/],
    [
      "records without bytes",
      joined([header({ schemaText: JSON.stringify(nothing) }), block(new Uint8Array(), 2 ** 50)]),
      422,
      /^the first 10000 of many records do not fit, of which the first 100 are told/,
    ],
    [
      "records without bytes, as they should be",
      joined([header({ schemaText: JSON.stringify(nothing) }), block(new Uint8Array(), 2 ** 50)]),
      413,
      /at most 500000 records/,
    ],
    [
      "a bomb",
      joined([header({ schemaText, codec: "deflate" }), block(deflateRawSync(new Uint8Array(100_000_000)), 1)]),
      413,
      /more than 16777216 bytes, unpacked/,
    ],
    ["no records", plain, 400, /has no record/],
  ];
  for (const [name, bytes, status, detail] of cases) {
    const topic = name.endsWith("should be") ? "nothing" : "readings";
    const answer = await world.post(bytes, { headers: AVRO, topic });
    assert.equal(answer.status, status, `${name}: ${JSON.stringify(answer.body)}`);
    assert.match(answer.body.detail, detail, name);
  }
  assert.deepEqual(await world.ids(), []);
  assert.equal(world.bulk.figures().heldBytes, 0);
  assert.deepEqual(world.fake.logged, []);
});

Deno.test("whatever bytes come, the answer is one of the contract and the topic has what was answered", async () => {
  await using world = await openWorld();
  const good = avroFile(readings, some(20), { blockRecords: 7 });
  const text = new TextEncoder().encode('{"id":"a","value":1}\n{"id":"b"}\n');
  let written = 0;
  const body = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.tuple(fc.constantFrom(good, text), fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 4 }))
      .map(([whole, changes]) => {
        const changed = whole.slice();
        for (const [at, byte] of changes) changed[at % changed.length] = byte;
        return changed;
      }),
  );
  const type = fc.constantFrom("application/x-ndjson", "avro/binary");
  await fc.assert(
    fc.asyncProperty(body, type, fc.constantFrom("", "gzip"), async (bytes, contentType, encoding) => {
      const sent = encoding === "gzip" && bytes.length % 2 ? await gzip(bytes as Uint8Array<ArrayBuffer>) : bytes;
      const answer = await world.post(sent as Uint8Array<ArrayBuffer>, {
        headers: { "content-type": contentType, "content-encoding": encoding },
      });
      assert.ok([201, 400, 413, 422].includes(answer.status), JSON.stringify(answer.body));
      if (answer.status === 201) written += answer.body.records;
    }),
    { numRuns: 150 },
  );
  let there = 0;
  const take = () => void there++;
  const { signal } = new AbortController();
  await world.log.read("readings", await world.log.offsets("readings", "earliest"), { take, signal, isWhole: true });
  assert.equal(there, written);
  assert.ok(written > 0);
  assert.deepEqual(world.fake.logged, []);
});

Deno.test("a line nested a hundred thousand deep is a line that does not fit", async () => {
  await using world = await openWorld();
  const deep = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
  const answer = await world.post(`{"id":"a"}\n${deep(100_000)}\n{"id":${deep(100_000)}}\n`);
  assert.equal(answer.status, 422, JSON.stringify(answer.body).slice(0, 500));
  assert.deepEqual(answer.body.errors.map(({ where }: { where: string }) => where), ["line 2", "line 3"]);
  assert.deepEqual(world.fake.logged, []);
});
