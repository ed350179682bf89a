import assert from "node:assert/strict";
import type postgres from "postgres";
import { count, pipeline, topic, tumbling } from "../../pipeline/definition.ts";
import { type Exported, exportPostgres } from "../../pipeline/export/export_file.ts";
import { planOf } from "../../pipeline/plan/compile.ts";
import { resultColumns } from "../../pipeline/plan/plan.ts";
import { postgresClient } from "../../pipeline/postgres_client.ts";
import { createPostgresSink } from "../../pipeline/sinks/postgres.ts";
import { Proxy } from "../log/proxy.ts";
import { testLake } from "../sinks/lake/results/lake_subject.ts";
import { startPostgres } from "../sinks/postgres_server.ts";

const START = Date.UTC(2026, 4, 1);
const MINUTE = 60_000;
/** About 25 MB as CSV: more than all sockets and buffers on the way hold. */
const ROWS = 300_000;
/** Of which so much comes through. */
const HALF_BYTES = 8 * 1024 ** 2;

const plan = await planOf(
  pipeline({
    name: "visits",
    from: topic("t", {
      schema: {
        type: "record",
        name: "Visit",
        fields: [{ name: "k", type: "string" }, {
          name: "at",
          type: { type: "long", logicalType: "timestamp-millis" },
        }],
      },
      eventTime: "at",
    }),
    groupBy: ["k"],
    window: tumbling("1 minute"),
    select: { n: count() },
    to: [{ kind: "postgres", table: "visits" }],
  }),
  new Map(),
);

interface Ask {
  readonly fromMs?: number;
  readonly toMs?: number;
  readonly signal?: AbortSignal;
  readonly lockMsMax?: number;
  readonly silentMsMax?: number;
}

interface World {
  /** A client of one connection, through the proxy. */
  readonly sql: postgres.Sql;
  readonly proxy: Proxy;
  /** Past the proxy. */
  readonly direct: postgres.Sql;
  /** Fails when it takes longer than half a minute. */
  export(ask?: Ask): Promise<Exported>;
  /** Begins an export, and resolves when half of it has come and nothing more will. */
  half(ask?: Ask): Promise<{ readonly exported: Promise<Exported> }>;
  /** Lets through again what comes. */
  release(): void;
  /** Files of exports. */
  files(): string[];
}

/** A table with a row for each minute, and exports of it through a network. */
async function withTable(rows: number, test: (world: World) => Promise<void>): Promise<void> {
  await using server = await startPostgres();
  await using lake = await testLake();
  const url = new URL(server.url);
  await using proxy = new Proxy({ hostname: "127.0.0.1", port: 0 }, { hostname: url.hostname, port: Number(url.port) });
  const direct = postgresClient(server.url, { max: 2 });
  url.port = proxy.address.split(":")[1];
  const sql = postgresClient(url.href, { backoff: () => 0, connect_timeout: 10 });
  const columns = resultColumns(plan);
  {
    await using _sink = await createPostgresSink({ url: server.url, table: "visits", columns });
  }
  await direct.unsafe(`INSERT INTO visits (k, window_start, window_end, n, revision, final)
    SELECT 'key ' || i, to_timestamp(${START / 1000}) + i * INTERVAL '1 minute',
      to_timestamp(${START / 1000}) + (i + 1) * INTERVAL '1 minute', i, 1, true FROM generate_series(0, ${
    rows - 1
  }) AS i`);
  const files = () => Array.from(Deno.readDirSync(lake.folder), ({ name }) => name).filter((name) => /^out/.test(name));
  let made = 0;
  let release = () => {};
  const ask = async (asked: Ask = {}) => {
    const path = `${lake.folder}/out${++made}.csv`;
    const { signal = new AbortController().signal } = asked;
    const options = {
      ...asked,
      signal,
      sql,
      table: "visits",
      format: "csv",
      path,
      database: lake.lake.database,
    } as const;
    return await soon(exportPostgres(plan, options));
  };
  try {
    await test({
      ...{ sql, proxy, direct, files },
      release() {
        proxy.onAnswer = () => "pass";
        release();
      },
      async export(asked) {
        const exported = await ask(asked);
        await Deno.remove(`${lake.folder}/out${made}.csv`);
        return exported;
      },
      async half(asked) {
        const reached = Promise.withResolvers<void>();
        let left = HALF_BYTES;
        proxy.onAnswer = (chunk) => {
          if ((left -= chunk.length) > 0) return "pass";
          reached.resolve();
          return "hold";
        };
        ({ promise: proxy.held, resolve: release } = Promise.withResolvers<void>());
        const exported = ask(asked);
        exported.catch(() => {});
        await Promise.race([reached.promise, exported]);
        return { exported };
      },
    });
  } finally {
    await sql.end({ timeout: 1 });
    await direct.end({ timeout: 1 });
  }
}

/** Waits half a minute at most: it takes a second, on a machine that does nothing else. */
async function soon<T>(work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("it neither ended nor failed")), 30_000);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Nothing of an export is left: no file, no statement in the server; and the client it was given serves others. */
async function assertNothingLeft({ sql, direct, release, files }: World): Promise<void> {
  assert.deepEqual(files(), []);
  const copies = async () =>
    (await direct`SELECT query FROM pg_stat_activity WHERE query LIKE 'COPY%' AND state <> 'idle'`).length;
  for (const end = performance.now() + 60_000; await copies() > 0;) {
    assert.ok(performance.now() < end, "the server still copies");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  release();
  assert.deepEqual([...await soon(sql`SELECT 1 AS one`)], [{ one: 1 }]);
}

Deno.test("an export of any size ends, whichever part of it comes last", async () => {
  await withTable(3_000, async (world) => {
    // Around the 64 KiB that a stream holds, and its multiples, the client stops to read; at the end it may never go on.
    for (let rows = 100; rows <= 3_000; rows += 100) {
      const { rows: exported } = await world.export({ toMs: START + rows * MINUTE });
      assert.equal(exported, rows);
    }
    await assertNothingLeft(world);
  });
});

Deno.test("an export that nobody waits for any more ends in the middle, and leaves nothing behind", async () => {
  await withTable(ROWS, async (world) => {
    const leaving = new AbortController();
    const { exported } = await world.half({ signal: leaving.signal });
    leaving.abort(new Error("nobody waits"));
    await assert.rejects(exported, /nobody waits/);
    await assertNothingLeft(world);
    assert.equal((await world.export()).rows, ROWS);
  });
});

Deno.test("an export whose connection breaks in the middle is unavailable, and the next one is whole", async () => {
  await withTable(ROWS, async (world) => {
    const { exported } = await world.half();
    world.proxy.cut();
    await assert.rejects(exported, { name: "UnavailableError", message: /CONNECTION_CLOSED|ECONNRESET/ });
    await assertNothingLeft(world);
    assert.equal((await world.export()).rows, ROWS);
  });
});

Deno.test("an export during which PostgreSQL falls silent is given up", async () => {
  await withTable(ROWS, async (world) => {
    const { exported } = await world.half({ silentMsMax: 2_000 });
    await assert.rejects(exported, { name: "UnavailableError", message: /has not answered for 2 s/ });
    await assertNothingLeft(world);
    // And one that has never been answered at all.
    world.proxy.onAnswer = () => "swallow";
    await assert.rejects(world.export({ silentMsMax: 2_000 }), { name: "UnavailableError", message: /not answered/ });
    await assertNothingLeft(world);
  });
});

Deno.test("an export waits for a lock on the table, but not for long", async () => {
  await withTable(10, async (world) => {
    const locked = await world.direct.reserve();
    await locked.unsafe("BEGIN; LOCK TABLE visits IN ACCESS EXCLUSIVE MODE");
    await assert.rejects(world.export({ lockMsMax: 200 }), { name: "UnavailableError", message: /lock timeout/ });
    const exported = world.export({ lockMsMax: 60_000 });
    await new Promise((resolve) => setTimeout(resolve, 300));
    await locked.unsafe("COMMIT");
    locked.release();
    assert.equal((await exported).rows, 10);
  });
});

Deno.test("an export finds its first host away, and takes the next; without any it is unavailable", async () => {
  await withTable(10, async ({ proxy }) => {
    await using lake = await testLake();
    const away = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const gone = `127.0.0.1:${(away.addr as Deno.NetAddr).port}`;
    away.close();
    const { database } = lake.lake;
    const signal = new AbortController().signal;
    const asked = { table: "visits", format: "csv", path: `${lake.folder}/out.csv`, database, signal } as const;
    for (const [hosts, isThere] of [[[gone, proxy.address], true], [[gone, gone], false]] as const) {
      const sql = postgresClient(`postgres://postgres@${hosts.join(",")}/postgres`);
      try {
        if (isThere) assert.equal((await exportPostgres(plan, { ...asked, sql })).rows, 10);
        else {
          await assert.rejects(exportPostgres(plan, { ...asked, sql }), {
            name: "UnavailableError",
            message: /ECONNREFUSED/,
          });
        }
      } finally {
        await sql.end({ timeout: 0 });
      }
    }
  });
});
