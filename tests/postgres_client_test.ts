import assert from "node:assert/strict";
import { postgresClient } from "../pipeline/postgres_client.ts";
import { codeOf } from "../pipeline/sinks/postgres_errors.ts";
import { sleep } from "./e2e/harness.ts";
import { Proxy } from "./log/proxy.ts";
import { borrowPostgres } from "./servers/postgres.ts";

/** Answers of a login and of one question. */
const ANSWERS = 7;
const LOST = /^(EPIPE|ECONNRESET|CONNECTION_CLOSED|CONNECTION_DESTROYED|CONNECTION_ENDED|57P01)$/;
/** What is asked while a connection that failed is being closed fails as well. On a machine that stalls that takes longer. */
const CLOSED_AFTER_MS = { least: 50, most: 10_000 };

/**
 * Gives what is answered after a connection was lost and closed. While some of it is lost as well the round is made again, with
 * twice the wait: a client that fails what is asked first, however late, fails it each time.
 */
async function afterClosed<T>(round: (closedAfterMs: number) => Promise<readonly T[]>): Promise<readonly T[]> {
  for (let waitMs = CLOSED_AFTER_MS.least;; waitMs *= 2) {
    const answers = await round(waitMs);
    if (waitMs > CLOSED_AFTER_MS.most || !answers.some((answer) => LOST.test(String(answer)))) return answers;
  }
}

/** Asks until the lost connection is closed, for what is asked before is lost as well. */
async function onceClosed<T>(ask: () => Promise<T>, lost = LOST): Promise<T> {
  for (const end = performance.now() + 30_000;;) {
    await sleep(CLOSED_AFTER_MS.least);
    const answer = await ask();
    if (!lost.test(String(answer)) || performance.now() > end) return answer;
  }
}

Deno.test("a server that ends the connection after any of its answers fails the question that waits, and nothing else", async () => {
  await using server = await borrowPostgres();
  const url = new URL(await server.database());
  await using proxy = new Proxy(
    { hostname: "127.0.0.1", port: 0 },
    { hostname: url.hostname, port: Number(url.port) },
  );
  url.host = proxy.address;
  const nobodyWaits: unknown[] = [];
  const onRejection = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    nobodyWaits.push(event.reason);
  };
  globalThis.addEventListener("unhandledrejection", onRejection);
  try {
    let failed = 0;
    for (let last = 1; last <= ANSWERS; last++) {
      const later = await afterClosed(async (closedAfterMs) => {
        let answers = 0;
        proxy.onAnswer = () => ++answers === last ? "last" : "pass";
        const sql = postgresClient(url.href, { connect_timeout: 30, backoff: () => 0 });
        const ask = (x: number) => sql`SELECT ${x}::int AS x`.then(([row]) => row.x, codeOf);
        // Each as soon as the one before it has failed, the last ones at once.
        const said = [await ask(0), await ask(1), await ask(2), ...await Promise.all([3, 4, 5].map(ask))];
        const lost = said.filter((answer, x) => answer !== x);
        for (const answer of lost) assert.match(String(answer), LOST);
        failed += lost.length;
        await sleep(closedAfterMs);
        const answer = await ask(6);
        await sql.end({ timeout: 0 });
        return [answer];
      });
      assert.deepEqual(later, [6], `when ${last} answers were given`);
    }
    assert.ok(failed >= 3, `${failed} were lost`);
    assert.deepEqual(nobodyWaits, []);
  } finally {
    globalThis.removeEventListener("unhandledrejection", onRejection);
  }
});

Deno.test("what a lost connection had answered, and why it was lost, is forgotten with it", async () => {
  await using server = await borrowPostgres();
  const url = await server.database();
  for (const max of [1, 3]) {
    const sql = postgresClient(url, { max, connect_timeout: 30, backoff: () => 0 });
    const ask = (x: number) =>
      sql`SELECT ${x}::int + i AS x FROM generate_series(0, 2) i`.values().then(String, codeOf);
    for (let round = 0; round < 5; round++) {
      const later = await afterClosed(async (closedAfterMs) => {
        const broken = sql`SELECT i, CASE WHEN i = 3000 THEN pg_terminate_backend(pg_backend_pid()) END
          FROM generate_series(1, 5000) i`.values().then(String, codeOf);
        const beside = await Promise.all([broken, ...[1, 2, 3, 4].map(ask)]);
        assert.match(beside[0], LOST);
        for (const [x, answer] of beside.entries()) {
          if (x > 0 && answer !== `${x},${x + 1},${x + 2}`) assert.match(answer, LOST);
        }
        await sleep(closedAfterMs);
        const answers = await Promise.all([5, 6, 7, 8].map(ask));
        for (const [i, answer] of answers.entries()) {
          if (answer !== `${i + 5},${i + 6},${i + 7}`) assert.match(answer, LOST);
        }
        return answers;
      });
      assert.deepEqual(later, ["5,6,7", "6,7,8", "7,8,9", "8,9,10"]);
    }
    await sql.end();
  }
});

Deno.test("of several hosts one that takes connections and says nothing is passed over", async () => {
  await using server = await borrowPostgres();
  const { hostname, port, pathname, username, password } = new URL(await server.database());
  using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const hosts = [`127.0.0.1:${(silent.addr as Deno.NetAddr).port}`, `${hostname}:${port}`];
  const url = `postgres://${username}:${password}@${hosts.join(",")}${pathname}`;
  const sql = postgresClient(url, { connect_timeout: 1, backoff: () => 0 });
  const ask = () => sql`SELECT 1 AS x`.then(([{ x }]) => x, codeOf);
  assert.equal(await ask(), "CONNECT_TIMEOUT");
  // Nor is a login within a second certain.
  assert.equal(await onceClosed(ask, new RegExp(`${LOST.source}|^CONNECT_TIMEOUT$`)), 1);
  await sql.end();
});

Deno.test("of several hosts the one that was talked to is asked again after a connection is lost", async () => {
  await using server = await borrowPostgres();
  const { hostname, port, pathname, username, password } = new URL(await server.database());
  const target = { hostname, port: Number(port) };
  await using first = new Proxy({ hostname: "127.0.0.1", port: 0 }, target);
  await using second = new Proxy({ hostname: "127.0.0.1", port: 0 }, target);
  const url = `postgres://${username}:${password}@${first.address},${second.address}${pathname}`;
  const sql = postgresClient(url, { connect_timeout: 30, backoff: () => 0 });
  for (let round = 1; round <= 3; round++) {
    assert.equal(await onceClosed(() => sql`SELECT 1 AS x`.then(([{ x }]) => x, codeOf)), 1);
    assert.deepEqual([first.connections, second.connections], [round, 0]);
    first.cut();
  }
  await sql.end();
});

Deno.test("statements that waited when a connection was lost leave none behind", async () => {
  await using server = await borrowPostgres();
  const url = new URL(await server.database());
  await using proxy = new Proxy({ hostname: "127.0.0.1", port: 0 }, { hostname: url.hostname, port: Number(url.port) });
  url.host = proxy.address;
  const sql = postgresClient(url.href, { connect_timeout: 30, backoff: () => 0 });
  // A text of its own each: what is not prepared yet waits here for its turn, instead of going behind the one before.
  const ask = (x: number) => sql.unsafe(`SELECT $1::int AS x -- ${x}`, [x]).then(([row]) => row.x, codeOf);
  for (let round = 0; round < 5; round++) {
    assert.equal(await onceClosed(() => ask(0)), 0);
    const lost = sql`SELECT pg_terminate_backend(pg_backend_pid())`.then(() => "no", codeOf);
    const said = await Promise.all([lost, ask(1), ask(2), ask(3)]);
    for (const answer of said) assert.match(String(answer), LOST);
  }
  assert.equal(await onceClosed(() => ask(4)), 4);
  assert.equal(proxy.connections, 6, "one more for each that was lost");
  await sql.end();
});
