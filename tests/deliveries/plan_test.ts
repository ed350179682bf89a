import assert from "node:assert/strict";
import type { DeliveryOptions } from "../../pipeline/deliveries/definition.ts";
import { planDelivery } from "../../pipeline/deliveries/plan.ts";
import { tombstoneKey } from "../../pipeline/deliveries/tombstone.ts";
import { addCounts, NO_PROGRESS, progressText, readProgress } from "../../pipeline/deliveries/group_counts.ts";
import { ConfigError } from "../../pipeline/errors.ts";
import {
  cassandra,
  delivery,
  jsonFiles,
  parquetFiles,
  postgresTable,
  secret,
  topic,
  webhook,
} from "../../pipeline/mod.ts";
import { PRODUCT } from "./world.ts";

const good = {
  name: "out",
  from: topic("items", { schema: PRODUCT, eventTime: "at" }),
  to: [jsonFiles("items")],
};

async function faultsOf(options: Readonly<Record<string, unknown>>): Promise<readonly string[]> {
  const definition = delivery({ ...good, ...options } as unknown as DeliveryOptions);
  try {
    await planDelivery(definition, new Map());
    return [];
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.faults.map(({ where, problem }) => `${where}: ${problem}`);
  }
}

Deno.test("what is not said has its usual value", async () => {
  const plan = await planDelivery(delivery(good as unknown as DeliveryOptions), new Map());
  const { consumers, batch, key, limitPerSecond, partitions } = plan;
  assert.deepEqual({ consumers, batch, key, limitPerSecond, partitions }, {
    consumers: 1,
    batch: { rows: 10_000, everyMs: 1_000 },
    key: [],
    limitPerSecond: null,
    partitions: null,
  });
});

Deno.test("all faults of a delivery come at once, each with its place", async () => {
  const faults = await faultsOf({
    name: "Out",
    consumers: 0,
    batchRows: 1_000_000,
    batchEvery: "1ms",
    limit: -1,
    key: ["nothing"],
  });
  assert.deepEqual(faults.map((fault) => fault.split(":")[0]), [
    "Out.name",
    "Out.limit",
    "Out.consumers",
    "Out.batchEvery",
    "Out.batchRows",
    "Out.key",
  ]);
  assert.match((await faultsOf({ to: [] }))[0], /^out\.to: say where records go/);
  assert.match((await faultsOf({ to: [undefined] }))[0], /^out\.to\[0\]: is no destination/);
  assert.match((await faultsOf({ to: [jsonFiles("a"), jsonFiles("a")] }))[0], /files files\/a is there twice/);
  assert.match((await faultsOf({ to: [jsonFiles("../a")] }))[0], /is no folder/);
  assert.match((await faultsOf({ to: [jsonFiles("a", { url: "ftp://x" })] }))[0], /neither file/);
  assert.match((await faultsOf({ to: [jsonFiles("a", { url: "s3://bucket/x" })] }))[0], /how to enter the bucket/);
  const s3 = { region: "eu", accessKeyId: secret("a"), secretAccessKey: secret("b") };
  assert.deepEqual(await faultsOf({ to: [jsonFiles("a", { url: "s3://bucket/x", s3 })] }), []);
});

Deno.test("a key is its text, or a JSON object where it has several parts; anything else is said in words", async () => {
  const { columns } = await planDelivery(delivery(good as unknown as DeliveryOptions), new Map());
  const [id, name] = columns;
  const bytes = (text: string) => new TextEncoder().encode(text);
  assert.deepEqual(tombstoneKey(bytes("12"), [id]), [12]);
  assert.deepEqual(tombstoneKey(bytes("9007199254740993"), [id]), [9007199254740993n]);
  assert.deepEqual(tombstoneKey(bytes(`{"id": 3, "name": "x"}`), [id, name]), [3, "x"]);
  assert.match(tombstoneKey(bytes("x"), [id]) as string, /is "x", no long for id/);
  assert.match(tombstoneKey(bytes("3"), [id, name]) as string, /no JSON object with id, name/);
  assert.match(tombstoneKey(null, [id]) as string, /without key and value/);
  assert.match(tombstoneKey(Uint8Array.of(255), [id]) as string, /not UTF-8/);
});

Deno.test("counts go into a group's metadata and come back; what somebody else wrote there counts nothing", () => {
  const counts = { read: 5, written: 3, rejected: 1, skipped: 1 };
  const progress = { counts, lost: 4, topicId: "6f1c0b1e-0000-4000-8000-000000000001" };
  assert.deepEqual(readProgress(progressText(progress)), progress);
  assert.deepEqual(readProgress(JSON.stringify(counts)), { counts, lost: 0, topicId: null });
  for (const text of ["", "null", "x", `{"read":-1}`, `{"read":1}`]) assert.deepEqual(readProgress(text), NO_PROGRESS);
  assert.deepEqual(addCounts(counts, counts), { read: 10, written: 6, rejected: 2, skipped: 2 });
});

Deno.test("a misspelt option of a delivery or a destination is told, with the one that was meant", async () => {
  const wrong = (options: unknown) => options as Record<string, never>;
  const url = "https://a.example/";
  const cases: [Readonly<Record<string, unknown>>, string][] = [
    [{ batchRow: 5 }, "batchRow: is no option; did you mean batchRows?"],
    [
      { to: [webhook({ url, ...wrong({ concurency: 2 }) })] },
      "webhook.concurency: is no option; did you mean concurrency?",
    ],
    [
      { to: [postgresTable("a", wrong({ databse: secret("b") }))] },
      "postgresTable.databse: is no option; did you mean database?",
    ],
    [{ to: [jsonFiles("a", wrong({ gzp: false }))] }, "to.gzp: is no option; did you mean gzip?"],
    [{ to: [parquetFiles("a", wrong({ gzip: false }))] }, "to.gzip: is no option; there are folder, url, s3"],
    [{ to: [cassandra("a", wrong({ tll: "1h" }))] }, "cassandra.tll: is no option; did you mean ttl?"],
  ];
  for (const [options, fault] of cases) assert.deepEqual(await faultsOf(options), [`out.${fault}`]);
});

Deno.test("the event time of a delivery is a field of its schema, and a time", async () => {
  const from = (eventTime: string) => ({ from: topic("items", { schema: PRODUCT, eventTime }) });
  assert.match((await faultsOf(from("att")))[0], /^out\.from\.eventTime: no field "att" .*did you mean at\?/);
  assert.match((await faultsOf(from("name")))[0], /^out\.from\.eventTime: name is a .*, not a timestamp, date or long/);
});

Deno.test("a secret's name that no variable can have is told, and not shown", async () => {
  const hook = webhook({ url: "https://a.example/", signingSecret: secret("Partner-Signing") });
  const faults = await faultsOf({ to: [hook] });
  assert.equal(faults.length, 1);
  assert.match(faults[0], /^out\.to\[0\]\.signingSecret: is no name of a secret: a-z, 0-9 and _/);
  assert.ok(!faults[0].includes("Partner-Signing"));
});

Deno.test("what is wrong with a destination is told together with what is wrong with the schema, the key and the time", async () => {
  const to = [webhook({ url: "ftp://a.example/", batch: 0 })];
  const own = ["out.webhook.url", "out.webhook.batch"];
  const places = async (options: Readonly<Record<string, unknown>>) =>
    (await faultsOf({ to, ...options })).map((fault) => fault.split(":")[0]);
  assert.deepEqual(await places({ key: ["nothing"] }), ["out.key", ...own]);
  assert.deepEqual(await places({ key: "id" }), ["out.key", ...own]);
  assert.deepEqual(await places({ from: topic("items", { schema: "nothing", eventTime: "at" }) }), [
    "out.from.schema",
    ...own,
  ]);
  assert.deepEqual(await places({ from: undefined }), ["out.from", "out.from.schema", ...own]);
});
