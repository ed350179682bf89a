import assert from "node:assert/strict";
import { startRegistry } from "../../../broker/registry/mod.ts";
import { schemaIdAt, writeFrame } from "../../../pipeline/codec/framing.ts";
import { systemClock } from "../../../pipeline/clock.ts";
import { ConfigError } from "../../../pipeline/errors.ts";
import { partitionOf } from "../../../pipeline/log/murmur2.ts";
import { createRegistryClient } from "../../../pipeline/log/registry_client.ts";
import { brokerIn, RawClient, temporaryFolder } from "../../broker/kafka/support.ts";
import { batchOf, withRecords } from "../../log/batches.ts";
import { hurriedClock } from "../../log/proxy.ts";
import { COMPRESSORS } from "../../log/compressors.ts";
import { bytes, eventually, Forwarding, type ForwardingOptions, record, Side, text } from "./forwarding.ts";

/** Two embedded brokers; the second may have other defaults. */
async function clusters() {
  const parts = new AsyncDisposableStack();
  const open = async () => {
    const folder = parts.use(temporaryFolder());
    const broker = parts.use(await brokerIn(folder.path));
    return { broker, side: parts.use(new Side([broker.address])) };
  };
  const [near, far] = [await open(), await open()];
  const between: Omit<ForwardingOptions, "options"> = { from: near.side.brokers, into: far.side.brokers };
  return {
    near: near.side,
    far: far.side,
    nearBroker: near.broker,
    between,
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

/** A framed value: the id, then some bytes. */
function framed(id: number, content: string): Uint8Array {
  const value = new Uint8Array(5 + content.length);
  writeFrame(value, 0, id);
  value.set(bytes(content), 5);
  return value;
}

Deno.test("key, value, headers and timestamp come over byte for byte, in the order of their partition", async () => {
  await using world = await clusters();
  await world.near.topic("orders", 3);
  const all = [0, 1, 2].map((partition) =>
    Array.from({ length: 700 }, (_, i) =>
      record(i % 50 === 7 ? null : `${partition}/${i} ${"x".repeat(i % 90)}`, {
        key: i % 3 === 0 ? null : bytes(`key ${i % 11}`),
        headers: i % 4 === 0 ? [["trace", bytes(`${i}`)], ["trace", null], ["", bytes("")]] : [],
        timestampMs: 1_700_000_000_000 + i * 37,
      }))
  );
  for (const partition of [0, 1, 2]) await world.near.write("orders", partition, all[partition]);
  const { counts } = await Forwarding.once({ ...world.between, options: { topics: ["orders"] } });
  assert.equal(counts.written, 2100);
  const there = await world.far.read("orders");
  assert.deepEqual(
    there.map((records) => records.map(({ offset: _o, partition: _p, ...rest }) => rest)),
    all.map((records) => records.map((one) => ({ ...one }))),
  );
});

Deno.test("what aborted transactions wrote is not forwarded, and compressed batches are", async () => {
  await using world = await clusters();
  await world.near.topic("t", 1);
  using client = await RawClient.open(world.nearBroker);
  for (const { name, codec, compress } of COMPRESSORS) {
    const batch = batchOf([record(`by ${name}`), record(`and ${name}`)]);
    const { error } = await client.produce(
      "t",
      codec === 0 ? batch : withRecords(batch, codec, compress(batch.slice(61))),
    );
    assert.equal(error, 0, name);
  }
  await world.near.write("t", 0, [record("committed")]);
  await Forwarding.once({ ...world.between, options: { topics: ["t"] } });
  const expected = COMPRESSORS.flatMap(({ name }) => [`by ${name}`, `and ${name}`]);
  assert.deepEqual(await world.far.values("t"), [[...expected, "committed"]]);
});

Deno.test("a second run goes on where the first ended, and a topic made anew is read from its beginning", async () => {
  await using world = await clusters();
  await world.near.topic("t", 1);
  const options = { ...world.between, options: { topics: ["t"] } };
  await world.near.write("t", 0, [record("1"), record("2")]);
  await Forwarding.once(options);
  await Forwarding.once(options);
  assert.deepEqual(await world.far.values("t"), [["1", "2"]]);
  await world.near.write("t", 0, [record("3")]);
  await Forwarding.once(options);
  assert.deepEqual(await world.far.values("t"), [["1", "2", "3"]]);
  using client = await RawClient.open(world.nearBroker);
  await client.request(20, 1, (w) => w.arrayLength(1).string("t").int32(1000));
  await world.near.topic("t", 1);
  await world.near.write("t", 0, [record("anew")]);
  const { lines } = await Forwarding.once(options);
  assert.deepEqual(await world.far.values("t"), [["1", "2", "3", "anew"]]);
  assert.match(lines.join("\n"), /made anew/);
});

Deno.test("records go behind a prefix, in the own cluster too, and by key where the target has fewer partitions", async () => {
  await using world = await clusters();
  await world.near.topic("t", 4);
  await world.near.topic("copy.t", 2);
  const keys = Array.from({ length: 40 }, (_, i) => bytes(`key ${i}`));
  for (const [i, key] of keys.entries()) await world.near.write("t", i % 4, [record(`${i}`, { key })]);
  await world.near.write("t", 3, [record("no key")]);
  await Forwarding.once({ ...world.between, into: null, prefix: "copy", options: { topics: ["t"] } });
  const there = await world.near.values("copy.t");
  const expected: string[][] = [[], []];
  keys.forEach((key, i) => expected[partitionOf(key, 2)].push(`${i}`));
  expected[1].push("no key");
  assert.deepEqual(there.map((values) => values.toSorted()), expected.map((values) => values.toSorted()));
});

Deno.test("a pattern finds topics that come later, and leaves out Tailrace's own", async () => {
  await using world = await clusters();
  for (const topic of ["shop.orders", "shop.users", "stock"]) await world.near.topic(topic, 1);
  await world.near.write("shop.orders", 0, [record("order")]);
  await world.near.write("shop.users", 0, [record("user")]);
  await world.near.write("stock", 0, [record("stock")]);
  await Forwarding.once({ ...world.between, options: { pattern: "shop\\..*|tailrace.*" } });
  assert.deepEqual(await world.far.values("shop.orders"), [["order"]]);
  assert.deepEqual(await world.far.values("shop.users"), [["user"]]);
  assert.deepEqual(await world.far.values("stock"), []);
  await world.near.topic("shop.prices", 1);
  await world.near.write("shop.prices", 0, [record("price")]);
  await Forwarding.once({ ...world.between, options: { pattern: "shop\\..*" } });
  assert.deepEqual(await world.far.values("shop.prices"), [["price"]]);
  assert.deepEqual(await world.far.values("shop.orders"), [["order"]]);
});

Deno.test("from the latest on, only what comes after the first commit is forwarded, also by a run after a crash", async () => {
  await using world = await clusters();
  await world.near.topic("t", 1);
  await world.near.write("t", 0, [record("before")]);
  const options = { ...world.between, options: { topics: ["t"], from: "latest" as const } };
  {
    await using forwarding = Forwarding.start(options);
    await eventually("a position is committed", () => forwarding.states.some(({ position }) => position !== null));
  }
  await world.near.write("t", 0, [record("between")]);
  await Forwarding.once(options);
  assert.deepEqual(await world.far.values("t"), [["between"]]);
});

Deno.test("schema ids are translated into the other registry's; unframed values pass; unknown ids are rejected", async () => {
  await using world = await clusters();
  await using parts = new AsyncDisposableStack();
  const registry = async () => {
    const folder = parts.use(temporaryFolder());
    return parts.use(await startRegistry({ host: "127.0.0.1", port: 0, dataDir: folder.path })).url;
  };
  const [fromRegistry, intoRegistry] = [await registry(), await registry()];
  const [near, far] = [fromRegistry, intoRegistry].map((url) => createRegistryClient({ url }));
  const schema = (name: string, ...fields: string[]) => ({
    type: "record" as const,
    name,
    fields: fields.map((field) => ({ name: field, type: "string" as const, default: "" })),
  });
  for (const other of ["A", "B", "C"]) await far.register(`${other}-value`, schema(other, "a"));
  const one = await near.register("t-value", schema("T", "a"));
  const two = await near.register("t-value", schema("T", "a", "b"));
  await world.near.topic("t", 1);
  const unframed = [bytes("plain text"), Uint8Array.of(0, 1), new Uint8Array(0)];
  await world.near.write("t", 0, [
    record(framed(one, "first")),
    ...unframed.map((value) => record(value)),
    record(framed(two, "second")),
    record(framed(999, "unknown")),
    record(framed(one, "third")),
  ]);
  const options = { ...world.between, fromRegistry, intoRegistry, options: { topics: ["t"] } };
  const { counts } = await Forwarding.once(options);
  assert.deepEqual(counts, { read: 7, written: 6, rejected: 1, skipped: 0 });
  const [there] = await world.far.read("t");
  const ids = there.map(({ value }) => schemaIdAt(value!, 0, value!.length));
  const latest = await far.latest("t-value");
  assert.deepEqual(ids, [ids[0], -1, -1, -1, latest!.id, ids[0]]);
  assert.deepEqual([await far.schemaById(ids[0]), await far.schemaById(ids[4])], [
    await near.schemaById(one),
    await near.schemaById(two),
  ]);
  assert.notEqual(ids[0], one);
  assert.deepEqual(there.map(({ value }) => text(value!.subarray(value![0] === 0 && value!.length > 5 ? 5 : 0))), [
    "first",
    ...unframed.map(text),
    "second",
    "third",
  ]);
  const [[rejected]] = await world.far.read("test.rejected");
  assert.deepEqual(rejected.value, framed(999, "unknown"));
  const headers = Object.fromEntries(rejected.headers.map(([name, value]) => [name, text(value)]));
  assert.equal(headers["tailrace.reason"], "the registry of the topic knows no schema 999");
  assert.equal(headers["tailrace.where"], "t/0 offset 5");
});

Deno.test("values keep their ids where both clusters have one registry, and where the definition says so", async () => {
  await using world = await clusters();
  await world.near.topic("t", 1);
  await world.near.write("t", 0, [record(framed(999, "as it is"))]);
  await Forwarding.once({ ...world.between, options: { topics: ["t"] } });
  await Forwarding.once({
    ...world.between,
    name: "kept",
    prefix: "kept",
    intoRegistry: "http://127.0.0.1:2",
    options: { topics: ["t"], schemas: "keep" },
  });
  assert.deepEqual(await world.far.read("kept.t"), await world.far.read("t"));
  assert.deepEqual((await world.far.read("t"))[0][0].value, framed(999, "as it is"));
});

Deno.test("a registry that is away is waited for, and nothing is passed over meanwhile", async () => {
  await using world = await clusters();
  await using parts = new AsyncDisposableStack();
  const folders = [parts.use(temporaryFolder()), parts.use(temporaryFolder())];
  const far = parts.use(await startRegistry({ host: "127.0.0.1", port: 0, dataDir: folders[1].path }));
  let near = await startRegistry({ host: "127.0.0.1", port: 0, dataDir: folders[0].path });
  const { url: fromRegistry, port } = near;
  const id = await createRegistryClient({ url: fromRegistry }).register("t-value", "string");
  await near.close();
  await world.near.topic("t", 1);
  await world.near.write("t", 0, [record("unframed"), record(framed(id, "framed"))]);
  await using forwarding = Forwarding.start({
    ...world.between,
    fromRegistry,
    intoRegistry: far.url,
    options: { topics: ["t"] },
  });
  await eventually("it waits", () => forwarding.waiting.some((reason) => reason?.includes("schema registry")));
  near = parts.use(await startRegistry({ host: "127.0.0.1", port, dataDir: folders[0].path }));
  await eventually("both are there", () => forwarding.counts.written === 2);
  assert.deepEqual((await world.far.read("t"))[0].map(({ value }) => value!.length), [8, 11]);
});

Deno.test("a topic that does not exist yet is waited for, and so are partitions that it gains", async () => {
  await using world = await clusters();
  await using forwarding = Forwarding.start({
    ...world.between,
    clock: hurriedClock,
    options: { topics: ["later"] },
  });
  await eventually("it waits", () => forwarding.waiting.includes("Topic later does not exist (yet)"));
  await world.near.topic("later", 2);
  await world.near.write("later", 1, [record("here")]);
  await eventually("it came over", () => forwarding.counts.written === 1);
  using client = await RawClient.open(world.nearBroker);
  await client.request(
    37,
    0,
    (w) => w.arrayLength(1).string("later").int32(3).arrayLength(-1).int32(1000).boolean(false),
  );
  await world.near.write("later", 2, [record("in a new one")]);
  await eventually("so did that", () => forwarding.counts.written === 2);
  assert.deepEqual(await world.far.values("later"), [["in a new one"], ["here"]]);
});

Deno.test("a broker that comes back with less than was read is given time, and nothing is forwarded twice meanwhile", async () => {
  await using world = await clusters();
  await using parts = new AsyncDisposableStack();
  const [folder, older] = [parts.use(temporaryFolder()), parts.use(temporaryFolder())];
  const open = async (path: string, port = 0) => {
    const broker = await brokerIn(path, { port });
    return { broker, side: new Side([broker.address]) };
  };
  const first = await open(folder.path);
  const port = first.broker.running.port;
  await first.side.topic("t", 1);
  await first.side.write("t", 0, [record("1"), record("2")]);
  await first.side[Symbol.asyncDispose]();
  await first.broker[Symbol.asyncDispose]();
  await new Deno.Command("cp", { args: ["-r", `${folder.path}/.`, older.path] }).output();
  const second = await open(folder.path, port);
  await second.side.write("t", 0, [record("3"), record("4")]);
  const clock = { ...systemClock, monotonic: () => 20 * performance.now() };
  await using forwarding = Forwarding.start({
    ...world.between,
    from: second.side.brokers,
    clock,
    options: { topics: ["t"] },
  });
  await eventually("all four are there", () => forwarding.counts.written === 4);
  await second.side[Symbol.asyncDispose]();
  await second.broker[Symbol.asyncDispose]();
  // As if a power cut had taken the last two.
  const third = await open(older.path, port);
  parts.use(third.broker);
  parts.use(third.side);
  await eventually(
    "it waits",
    () => forwarding.waiting.some((reason) => reason?.includes("may not have all of it yet")),
  );
  await eventually(
    "it goes on",
    () => forwarding.lines.some((line) => line.includes("lost records that had been read")),
  );
  await third.side.write("t", 0, [record("5")]);
  await eventually("what is new is there", () => forwarding.counts.written === 5);
  assert.deepEqual(await world.far.values("t"), [["1", "2", "3", "4", "5"]]);
});

Deno.test("a topic is not forwarded to itself", async () => {
  await using world = await clusters();
  await world.near.topic("t", 1);
  const refusal = (message: RegExp) => (error: Error) => error instanceof ConfigError && message.test(error.message);
  await assert.rejects(
    Forwarding.once({ ...world.between, into: null, options: { topics: ["t"] } }),
    refusal(/prefix/),
  );
  // The same cluster by another name.
  const [, port] = world.near.brokers[0].split(":");
  const into = [`localhost:${port}`];
  await assert.rejects(Forwarding.once({ ...world.between, into, options: { topics: ["t"] } }), refusal(/to itself/));
  await assert.rejects(Forwarding.once({ ...world.between, options: {} }), refusal(/either topics or a pattern/));
  await assert.rejects(
    Forwarding.once({ ...world.between, options: { topics: ["a b", "a b"], from: "now" as "latest" } }),
    (error: ConfigError) => error.faults.length === 4,
  );
});
