import assert from "node:assert/strict";
import avsc from "avsc";
import { FREE_PORTS, runToEnd, Tailrace, temporaryFolder } from "./harness.ts";
import { assertFlightsAreExact, assertFlightsBecomeFinal, FLIGHTS, replayFlights } from "./replay_checks.ts";
import { readTopic } from "./topic_reader.ts";

Deno.test("replay plays files into a running Tailrace", async (t) => {
  await using folder = temporaryFolder();
  await using tailrace = await Tailrace.start(["dev", "flights", "--data", `${folder.path}/data`, ...FREE_PORTS]);
  const addresses = ["--brokers", tailrace.brokers, "--registry", tailrace.registryUrl];

  await t.step("flights by day and origin equal DuckDB's aggregation of the file, row by row", async () => {
    const { rows } = await replayFlights(tailrace, FLIGHTS);
    assert.equal(rows, 3_000_000);
    await assertFlightsAreExact(tailrace, FLIGHTS);
  });

  const sensors = [
    { sensor: "a", at: "2024-05-01 10:00:00", celsius: 21.5, ok: true },
    { sensor: "b", at: "2024-05-01 10:00:01", celsius: -3.25, ok: false },
    { sensor: "ü", at: "2024-05-01 10:00:02", celsius: 0, ok: true },
  ];
  const texts = {
    csv: ["sensor,at,celsius,ok", ...sensors.map((row) => Object.values(row).join(","))].join("\n"),
    ndjson: sensors.map((row) => JSON.stringify(row)).join("\n"),
  };
  for (const [kind, text] of Object.entries(texts)) {
    await t.step(`a ${kind} file gets a schema of its columns' types, registered, and the key it is told`, async () => {
      const path = `${folder.path}/sensors.${kind}`;
      await Deno.writeTextFile(path, text);
      const topic = `sensors-${kind}`;
      const { code, stdout, stderr } = await runToEnd([
        "replay",
        path,
        "--topic",
        topic,
        "--key",
        "sensor",
        ...addresses,
      ]);
      assert.equal(code, 0, stderr);
      assert.match(stdout, /^3 of 3 rows/);
      const response = await fetch(`${tailrace.registryUrl}/subjects/${topic}-value/versions/latest`);
      const { id, schema } = await response.json();
      const type = avsc.Type.forSchema(JSON.parse(schema));
      const records = await readTopic(tailrace.brokers, topic);
      const values = records.map(({ key, value }) => {
        assert.equal(new DataView(value!.buffer, value!.byteOffset).getInt32(1), id);
        const row = type.fromBuffer(value!.subarray(5) as never);
        assert.equal(new TextDecoder().decode(key!), row.sensor);
        return { ...row, at: Number(row.at) };
      });
      const expected = sensors.map((row) => ({ ...row, at: 1000 * Date.parse(`${row.at.replace(" ", "T")}Z`) }));
      const byTime = (a: { at: number }, b: { at: number }) => a.at - b.at;
      assert.deepEqual(values.sort(byTime).map((row) => ({ ...row })), expected);
    });
  }

  await t.step("a missing file, topic and speed are told by name with code 2", async () => {
    const none = await runToEnd(["replay"]);
    assert.equal(none.code, 2);
    assert.match(none.stderr, /FILE: [^]*--topic: is needed/);
    const missing = await runToEnd(["replay", `${folder.path}/none.csv`, "--topic", "t", ...addresses]);
    assert.equal(missing.code, 2, missing.stderr);
    assert.match(missing.stderr, /none\.csv/);
    const speed = await runToEnd(["replay", FLIGHTS, "--topic", "t", "--speed", "fast", ...addresses]);
    assert.equal(speed.code, 2);
    assert.match(speed.stderr, /--speed: "fast" is not max, or a factor/);
  });

  await t.step(
    "a topic and a row that cannot be are told by their flags, a file without rows by its name",
    async () => {
      const path = `${folder.path}/sensors.csv`;
      const refused = await runToEnd(["replay", path, "--topic", "bad topic", "--from-row", "1", ...addresses]);
      assert.equal(refused.code, 2);
      assert.match(refused.stderr, /--topic: "bad topic" is not a topic name/);
      const row = await runToEnd(["replay", path, "--topic", "sensors-csv", "--from-row", "0", ...addresses]);
      assert.equal(row.code, 2);
      assert.match(row.stderr, /--from-row: "0" is not the number of a row/);
      const last = await runToEnd(["replay", path, "--topic", "sensors-rest", "--from-row", "3", ...addresses]);
      assert.equal(last.code, 0, last.stderr);
      assert.equal((await readTopic(tailrace.brokers, "sensors-rest")).length, 1);
      const empty = `${folder.path}/empty.csv`;
      await Deno.writeTextFile(empty, "id,n\n");
      const none = await runToEnd(["replay", empty, "--topic", "nothing", ...addresses]);
      assert.equal(none.code, 1);
      assert.match(none.stderr, /empty\.csv holds no rows/);
      const subject = await fetch(`${tailrace.registryUrl}/subjects/nothing-value/versions`);
      assert.equal(subject.status, 404, await subject.text());
    },
  );

  await t.step("a broker that is away is told, not waited for without a word", async () => {
    const path = `${folder.path}/sensors.csv`;
    const { code, stderr } = await runToEnd(["replay", path, "--topic", "t", "--brokers", "127.0.0.1:1"]);
    assert.equal(code, 1, stderr);
    assert.match(stderr, /127\.0\.0\.1:1/);
  });

  await t.step("the flights' windows have become final by themselves, and are still exact", async () => {
    await assertFlightsBecomeFinal(tailrace, FLIGHTS);
  });
});
