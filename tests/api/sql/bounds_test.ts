import assert from "node:assert/strict";
import { createApp } from "../../../api/app.ts";
import { SqlError, type SqlErrorKind } from "../../../api/sql/service.ts";
import { fakeDeps } from "../fake_deps.ts";
import { askedLake } from "./small_lake.ts";

const ENDLESS = "select count(*) from range(1000000000000) t(i) where i % 7 = 3";
/** Some 100 MB of rows, of which a pipe and a few buffers hold little. */
const LONG = "select i, repeat('x', 1000) as t from range(100000) t(i)";

function refused(kind: SqlErrorKind, words: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof SqlError, String(error));
    assert.equal(error.kind, kind);
    assert.match(error.message, words);
    return true;
  };
}

const never = new AbortController().signal;

Deno.test("a question that takes too long is ended, and its files are let go of", async () => {
  await using lake = await askedLake({ answerMs: 700 });
  const startedAt = performance.now();
  await assert.rejects(
    lake.rows(`${ENDLESS} and i > (select count(*) from ledger)`),
    refused("limit", /more than 0.7 s/),
  );
  assert.ok(performance.now() - startedAt < 60_000);
  assert.equal(lake.held(), 0);
});

Deno.test("a question that takes too much memory is ended, by DuckDB or by the machine", async () => {
  await using lake = await askedLake({ memoryBytesMax: 64 * 1024 * 1024 });
  await assert.rejects(lake.rows("select len(list(i)) from range(100000000) t(i)"), refused("limit", /more memory/));
  await assert.rejects(lake.rows("select length(repeat('x', 4000000000))"), refused("limit", /memory/));
});

Deno.test("a question is cancelled by its id, while it is worked on and while it waits", async () => {
  await using lake = await askedLake({ questionsMax: 1 });
  const ask = (id: string) => lake.service.ask({ sql: ENDLESS, format: "json" }, { id, signal: never });
  const ended = [ask("first"), ask("second")].map((answer) =>
    assert.rejects(answer, refused("cancelled", /was cancelled/))
  );
  await assert.rejects(ask("first"), refused("busy", /"first" is under way/));
  assert.equal(lake.service.cancel("second"), true);
  await ended[1];
  assert.equal(lake.service.cancel("first"), true);
  await ended[0];
  assert.equal(lake.service.cancel("first"), false);
  assert.deepEqual(await lake.rows("select 1 as n"), [{ n: 1 }]);
});

Deno.test("a question that nobody waits for any more is ended", async () => {
  await using lake = await askedLake({ questionsMax: 1 });
  const client = new AbortController();
  const answer = lake.service.ask({ sql: ENDLESS, format: "json" }, { signal: client.signal });
  setTimeout(() => client.abort(), 100);
  await assert.rejects(answer, refused("cancelled", /nobody waits/));
  assert.deepEqual(await lake.rows("select 1 as n"), [{ n: 1 }]);
});

Deno.test("so many questions go on at a time, some wait for their turn, and more are refused", async () => {
  await using lake = await askedLake({ questionsMax: 2, waitingMax: 1 });
  const ask = (id: string) => lake.service.ask({ sql: ENDLESS, format: "json" }, { id, signal: never });
  const ended = ["a", "b"].map((id) => assert.rejects(ask(id), refused("cancelled", /cancelled/)));
  const waiting = lake.rows("select 1 as n");
  await assert.rejects(lake.rows("select 2"), refused("busy", /2 questions are being answered and 1 wait/));
  lake.service.cancel("a");
  assert.deepEqual(await waiting, [{ n: 1 }]);
  lake.service.cancel("b");
  await Promise.all(ended);
});

Deno.test("a question does not wait for its turn for ever", async () => {
  await using lake = await askedLake({ questionsMax: 1, waitMs: 200 });
  const first = lake.service.ask({ sql: ENDLESS, format: "json" }, { id: "first", signal: never });
  const ended = assert.rejects(first, refused("cancelled", /cancelled/));
  await assert.rejects(lake.rows("select 1"), refused("busy", /no turn came up in 0.2 s/));
  lake.service.cancel("first");
  await ended;
});

Deno.test("a reader who is slow is waited for, and a long answer is whole", async () => {
  await using lake = await askedLake({ answerMs: 20_000 });
  const { body, isTruncated } = await lake.service.ask({ sql: LONG, format: "csv" }, { signal: never });
  assert.equal(isTruncated, null);
  let bytes = 0;
  let reads = 0;
  for await (const piece of body) {
    bytes += piece.length;
    if (++reads % 200 === 0) await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const digits = Array.from({ length: 100_000 }, (_, i) => `${i}`.length).reduce((sum, one) => sum + one, 0);
  assert.equal(bytes, "i,t\r\n".length + digits + 100_000 * 1_003);
});

Deno.test("a reader who takes nothing is cut off, and makes room for others", async () => {
  await using lake = await askedLake({ questionsMax: 1, stallMs: 300 });
  const { body } = await lake.service.ask({ sql: LONG, format: "csv" }, { signal: never });
  assert.deepEqual(await lake.rows("select 1 as n"), [{ n: 1 }]);
  await assert.rejects(new Response(body).bytes(), refused("limit", /was not read within 0.3 s/));
});

Deno.test("a reader who leaves ends the question", async () => {
  await using lake = await askedLake({ questionsMax: 1 });
  const { body } = await lake.service.ask({ sql: LONG, format: "ndjson" }, { signal: never });
  await body.cancel();
  assert.deepEqual(await lake.rows("select 1 as n"), [{ n: 1 }]);
});

Deno.test("rows beyond the limit are left out and that is said; beyond ours the answer is refused or broken off", async () => {
  await using lake = await askedLake({ jsonRows: 100, rowsMax: 5_000 });
  const ask = async (sql: string, format: "json" | "csv" | "parquet" | "arrow", limit?: number) => {
    const answer = await lake.service.ask({ sql, format, limit }, { signal: never });
    return { ...answer, bytes: await new Response(answer.body).bytes() };
  };
  const all = await ask("select * from range(100)", "json");
  assert.equal(all.isTruncated, false);
  const cut = await ask("select * from range(101)", "json");
  assert.equal(cut.isTruncated, true);
  const { rows, truncated } = JSON.parse(new TextDecoder().decode(cut.bytes));
  assert.deepEqual([rows.length, truncated], [100, true]);
  assert.equal((await ask("select * from range(1000)", "csv", 7)).isTruncated, true);
  assert.equal((await ask("select * from range(1000)", "arrow", 1_000)).isTruncated, false);
  assert.equal((await ask("select * from range(1000)", "parquet", 7)).isTruncated, null);
  for (const format of ["csv", "parquet", "arrow"] as const) {
    await assert.rejects(ask("select * from range(5001)", format), refused("limit", /more than 5000 rows/), format);
  }
});

Deno.test("bytes beyond ours break the answer off", async () => {
  await using lake = await askedLake({ bytesMax: 3_000_000, heldBytes: 100_000 });
  const { body } = await lake.service.ask({ sql: LONG, format: "ndjson" }, { signal: never });
  await assert.rejects(new Response(body).bytes(), refused("limit", /more than 3000000 bytes/));
  await assert.rejects(lake.bytes("select repeat('x', 4000000)", "csv"), refused("limit", /bytes/));
});

Deno.test("a failure in the middle of an answer breaks it off", async () => {
  await using lake = await askedLake({ heldBytes: 100_000 });
  const sql =
    "select (case when i < 250000 then i::varchar else 'x' || i end)::int as n, 'some text' as t from range(300000) t(i)";
  const { body } = await lake.service.ask({ sql, format: "ndjson" }, { signal: never });
  await assert.rejects(new Response(body).bytes(), refused("syntax", /Could not convert string 'x25/));
});

Deno.test("over HTTP an answer that is broken off is an error at the client, and a client that leaves ends its question", async () => {
  await using lake = await askedLake({ questionsMax: 1, bytesMax: 3_000_000 });
  const app = createApp(fakeDeps({ sql: lake.service }).deps);
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, app.fetch);
  const ask = (sql: string, signal?: AbortSignal) =>
    fetch(`http://127.0.0.1:${server.addr.port}/v1/sql?q=${encodeURIComponent(sql)}&format=ndjson`, { signal });
  await assert.rejects(ask(LONG).then((response) => response.bytes()), TypeError);
  const client = new AbortController();
  const asked = ask(ENDLESS, client.signal);
  setTimeout(() => client.abort(), 300);
  await assert.rejects(asked, { name: "AbortError" });
  assert.deepEqual(await lake.rows("select 1 as n"), [{ n: 1 }]);
  await server.shutdown();
});

Deno.test("a lake's file that is gone is told as that, without saying where it was", async () => {
  await using lake = await askedLake();
  await Deno.remove(`${lake.folder}/day2.parquet`);
  await assert.rejects(lake.rows("select count(*) from lake.transactions"), (error: Error) => {
    assert.equal(error.name, "UnavailableError");
    assert.match(error.message, /^the lake cannot be read just now: .*a file of lake\.transactions/);
    assert.ok(!error.message.includes(lake.folder));
    return true;
  });
});
