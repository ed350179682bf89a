import { systemClock } from "../../../pipeline/clock.ts";
import { Cluster } from "../../../pipeline/log/cluster.ts";
import { createCommittedLog } from "../../../pipeline/log/committed_log.ts";
import { createRegistryClient } from "../../../pipeline/log/registry_client.ts";
import { postgresClient } from "../../../pipeline/postgres_client.ts";
import { sleep, temporaryFolder, until } from "../../e2e/harness.ts";
import { startChild } from "../../servers/child.ts";
import { freePort } from "../../servers/free_port.ts";
import { startTestPostgres } from "../../servers/postgres.ts";
import { Topics } from "../../sources/postgres_changes/topics.ts";
import { type Kind, NotExactError } from "../kind.ts";

const MAIN = new URL("../../../main.ts", import.meta.url).pathname;
const TOPIC = "cdc.shop.products";
/** More rows than a batch, so that some kills come while they are read for the first time. */
const ROWS = 30_000;
const CAUGHT_UP_WITHIN_MS = 120_000;

/** The process that reads a table's changes, its broker and all, is killed while the table is written; then both are compared. */
export const cdc: Kind = {
  name: "cdc",
  what: "kill -9 of a process that reads PostgreSQL's changes",
  counts: { full: 200, short: 6 },
  async run(run) {
    await using server = await startTestPostgres();
    await using folder = temporaryFolder();
    const url = await server.database();
    const sql = postgresClient(url, { max: 2 });
    const [broker, registry] = [freePort(), freePort()];
    const start = () =>
      startChild(Deno.execPath(), [
        ...[
          "run",
          "-A",
          MAIN,
          "dev",
          "products_changes",
          "--rate",
          "0",
          "--data",
          `${folder.path}/data`,
          "--port",
          "0",
        ],
        ...["--broker-port", String(broker), "--registry-port", String(registry), "--database", url],
      ], { logFile: `${folder.path}/log`, cwd: Deno.cwd() });
    let running = start();
    let isWriting = true;
    let writing: Promise<void> = Promise.resolve();
    try {
      await until("the table is there", async () => {
        const [{ there }] = await sql`SELECT to_regclass('shop.products') IS NOT NULL AS there`;
        return there;
      });
      await sql`INSERT INTO shop.products (id, name, category, price)
        SELECT i, 'made ' || i, 'none', 1 FROM generate_series(1000, ${1000 + ROWS}::int) i`;
      writing = (async () => {
        for (let i = 0; isWriting; i++) {
          await sql`UPDATE shop.products SET price = price + 1 WHERE id % 500 = ${i % 500}`;
          await sql`DELETE FROM shop.products WHERE id % 5000 = ${(7 * i) % 5000} AND id > 1000`;
          await sql`INSERT INTO shop.products (id, name, category, price) VALUES (${100_000 + i}, 'new', 'none', 2)`;
          await sleep(5);
        }
      })();
      writing.catch(() => {});
      while (run.injected < run.count) {
        await sleep(run.between(500, 5_000));
        await running.stop("SIGKILL");
        run.inject();
        running = start();
        run.recoveredIn(0);
      }
      isWriting = false;
      await writing;
      const began = performance.now();
      const [{ count }] = await sql`SELECT count(*)::int AS count FROM shop.products`;
      const brokers = [`127.0.0.1:${broker}`];
      await using cluster = new Cluster(brokers, { clientId: "tailrace-faults", ssl: false, sasl: null });
      const log = createCommittedLog(cluster, { clock: systemClock });
      const topics = new Topics(url, { tables: ["shop.products"] }, {
        registry: createRegistryClient({ url: `http://127.0.0.1:${registry}` }),
      });
      const table = new Map(
        (await sql`SELECT id, price::text AS price FROM shop.products`).map((row) => [`{"id":${row.id}}`, row.price]),
      );
      // What is committed up to the slot's confirmed place is all there is.
      const [{ lsn }] = await sql`SELECT pg_current_wal_flush_lsn()::text AS lsn`;
      await until("all changes are read", async () => {
        const [slot] = await sql`SELECT confirmed_flush_lsn >= ${lsn}::pg_lsn AS done FROM pg_replication_slots`;
        return slot?.done === true;
      }, CAUGHT_UP_WITHIN_MS);
      await log.read(TOPIC, await log.offsets(TOPIC, "earliest"), {
        take: (record) => void topics.records.push({ ...record, topic: TOPIC }),
        signal: new AbortController().signal,
        isWhole: true,
      });
      run.recovered--;
      run.recoveredIn(performance.now() - began);
      // Fails at a change that cannot be, such as a second insert of a row that is there.
      const applied = (await topics.applied()).get(TOPIC) ?? new Map();
      for (const [key, price] of table) {
        if (!applied.has(key)) run.findings.note("lost", "behaviour", `${key} is not in the topic`);
        else if (applied.get(key).price !== price) run.findings.note("wrong", "behaviour", `${key} has another price`);
      }
      for (const key of applied.keys()) {
        if (!table.has(key)) run.findings.note("wrong", "behaviour", `${key} is not gone`);
      }
      run.records += topics.records.length;
      run.remarks.push(`${count} rows, ${topics.records.length} records`);
    } finally {
      isWriting = false;
      await writing.catch(() => {});
      await running.stop("SIGKILL");
      await sql.end();
    }
    if (run.findings.total > 0) throw new NotExactError("the topic is not what the table is");
  },
};
