import assert from "node:assert/strict";
import { Journal } from "../../../broker/kafka/journal.ts";
import { brokerIn, RawClient, recordBatch, temporaryFolder, valuesIn } from "./support.ts";

/** DeleteTopics, version 1. Returns the error. */
async function deleteTopic(client: RawClient, name: string): Promise<number> {
  const answer = await client.request(20, 1, (w) => w.arrayLength(1).string(name).int32(1000));
  answer.int32();
  answer.arrayLength();
  answer.string();
  return answer.int16();
}

Deno.test("a topic deleted and created again is empty, also for a fetch that waited on the old one", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path);
  using client = await RawClient.open(broker);
  using waiting = await RawClient.open(broker);
  await client.createTopic("t");
  await client.produce("t", recordBatch(["old"]));
  const fetched = waiting.fetch("t", 1, { waitMs: 10_000 });
  // Nothing tells when a fetch has begun to wait: give it a moment.
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(await deleteTopic(client, "t"), 0);
  assert.equal((await fetched).error, 3);
  assert.equal(await deleteTopic(client, "t"), 3);
  await client.createTopic("t");
  assert.deepEqual((await client.produce("t", recordBatch(["new"]))).offset, 0);
  assert.deepEqual(valuesIn((await client.fetch("t", 0)).records), [{ offset: 0, value: "new" }]);
});

Deno.test("partitions over the limit are refused, by name of the limit or by not creating the topic", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path, { partitionsMax: 5, defaultPartitions: 4 });
  using client = await RawClient.open(broker);
  await client.createTopic("first");
  await client.createTopic("second");
  assert.equal((await client.fetch("first", 0)).error, 0);
  assert.equal((await client.fetch("second", 0)).error, 3);
});

Deno.test("a topic is not created by asking when that is switched off", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path, { autoCreateTopics: false });
  using client = await RawClient.open(broker);
  await client.createTopic("t");
  assert.equal((await client.fetch("t", 0)).error, 3);
});

Deno.test("retention runs by itself and is told in the log", async () => {
  using folder = temporaryFolder();
  await using broker = await brokerIn(folder.path, { retentionBytes: 2000, segmentBytes: 1000, retentionCheckMs: 10 });
  using client = await RawClient.open(broker);
  await client.createTopic("t");
  for (let i = 0; i < 60; i++) await client.produce("t", recordBatch([`value ${i}`]), 1);
  for (let tries = 0; (await client.fetch("t", 59)).start === 0 && tries < 200; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const { start, end } = await client.fetch("t", 59);
  assert.ok(start > 0 && end === 60);
  assert.ok(broker.lines.some((line) => /Removed \d+ old segments? of t-0/.test(line)), broker.lines.join("\n"));
  assert.equal((await client.fetch("t", 0)).error, 1);
});

Deno.test("a damaged list of topics stops the start, with the file's name", async () => {
  using folder = temporaryFolder();
  Deno.writeTextFileSync(`${folder.path}/topics.json`, "{");
  await assert.rejects(brokerIn(folder.path), /topics\.json/);
  // The lock and the port were given back.
  Deno.removeSync(`${folder.path}/topics.json`);
  await using broker = await brokerIn(folder.path);
  assert.ok(broker.running.port > 0);
});

Deno.test("a journal cut at any byte keeps the whole entries before it and goes on, and is rewritten when it has grown", async () => {
  using folder = temporaryFolder();
  const path = `${folder.path}/journal`;
  let state = new Map<string, string>();
  const lines: string[] = [];
  const openJournal = () => {
    state = new Map();
    return new Journal<[string, string]>(path, {
      apply: ([key, value]) => state.set(key, value),
      snapshot: () => state,
      log: (line) => lines.push(line),
    });
  };
  const first = openJournal();
  first.append([["a", "1"], ["b", "ü2"]]);
  await first.close();
  const bytes = Deno.readFileSync(path);
  const firstLine = bytes.indexOf(10) + 1;
  for (let size = 0; size < bytes.length; size++) {
    Deno.writeFileSync(path, bytes.subarray(0, size));
    const journal = openJournal();
    assert.equal(state.size, size < firstLine ? 0 : 1);
    journal.append([["c", "3"]]);
    await journal.close();
    await openJournal().close();
    assert.equal(state.get("c"), "3");
  }
  assert.ok(lines.length > 0);

  const journal = openJournal();
  for (let i = 0; i < 3000; i++) {
    state.set("k", `${i}`);
    journal.append([["k", `${i}${"x".repeat(1000)}`]]);
  }
  await journal.close();
  assert.ok(Deno.statSync(path).size < 1_200_000);
  await openJournal().close();
  assert.ok(state.get("k")!.startsWith("2999x"));
});

Deno.test("a journal damaged in the middle is refused with the line's place, and is left as it is", async () => {
  using folder = temporaryFolder();
  const path = `${folder.path}/journal`;
  const openJournal = () => {
    const seen: string[] = [];
    const journal = new Journal<string>(path, {
      apply: (entry) => seen.push(entry),
      snapshot: () => seen,
      log: () => {},
    });
    return { journal, seen };
  };
  const first = openJournal().journal;
  first.append(["one", "two", "three"]);
  await first.close();
  const bytes = Deno.readFileSync(path);
  const lastLine = bytes.subarray(0, -1).lastIndexOf(10) + 1;
  for (let at = 0; at < bytes.length; at++) {
    const damaged = bytes.slice();
    damaged[at] ^= 0x40;
    Deno.writeFileSync(path, damaged);
    if (at < lastLine - 1) {
      const secondLine = bytes.indexOf(10) + 1;
      const line = at < secondLine - 1 ? "line 1 \\(byte 0\\)" : "line [12] \\(byte \\d+\\)";
      assert.throws(() => openJournal(), new RegExp(`${line} is damaged and whole ones follow`), `byte ${at}`);
      assert.deepEqual(Deno.readFileSync(path), damaged);
    }
  }
  // The newline of the last line but one makes the last two one line, which is the last.
  for (let at = lastLine; at < bytes.length; at++) {
    const damaged = bytes.slice();
    damaged[at] ^= 0x40;
    Deno.writeFileSync(path, damaged);
    const { journal, seen } = openJournal();
    assert.deepEqual(seen, ["one", "two"], `byte ${at}`);
    await journal.close();
    assert.equal(Deno.statSync(path).size, lastLine);
  }
});

Deno.test("a topic keeps its id over restarts, and one made anew under its name has another", async () => {
  using folder = temporaryFolder();
  /** The id in Metadata, version 10 and 12 (flexible). */
  const idOf = async (client: RawClient) => {
    const ids = [];
    for (const version of [10, 12]) {
      const answer = await client.request(3, version, (w) => {
        w.int8(0).compactArrayLength(1).uuid("0".repeat(32)).compactString("t").int8(0).boolean(true);
        if (version === 10) w.boolean(false);
        w.boolean(false).int8(0);
      });
      answer.skip(5);
      assert.equal(answer.compactArrayLength(), 1);
      answer.int32();
      answer.compactString();
      answer.skip(4 + 1 + 1);
      answer.compactNullableString();
      answer.int32();
      assert.equal(answer.compactArrayLength(), 1);
      assert.equal(answer.int16(), 0);
      assert.equal(answer.compactString(), "t");
      ids.push(answer.uuid());
    }
    assert.equal(ids[0], ids[1]);
    assert.notEqual(ids[0], "0".repeat(32));
    return ids[0];
  };
  let first = "";
  {
    await using broker = await brokerIn(folder.path);
    using client = await RawClient.open(broker);
    first = await idOf(client);
  }
  await using broker = await brokerIn(folder.path);
  using client = await RawClient.open(broker);
  assert.equal(await idOf(client), first);
  assert.equal(await deleteTopic(client, "t"), 0);
  assert.notEqual(await idOf(client), first);
});
