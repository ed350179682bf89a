import assert from "node:assert/strict";
import process from "node:process";
import { CassandraSession } from "../../pipeline/sinks/cassandra/session.ts";
import { createCassandraSink } from "../../pipeline/sinks/cassandra/sink.ts";
import { withRetry } from "../../pipeline/sinks/retry.ts";
import { Proxy } from "../log/proxy.ts";
import { borrowCassandra, whyNoCassandra } from "../servers/cassandra.ts";
import { USER_COLUMNS, userRows, usersOf } from "../sinks/cassandra_rows.ts";
import { optionsFor } from "../sinks/cassandra_subject.ts";

const CUTS = 20;
const APART_MS = 500;
const IDS = 500;
/** Of this run alone: a node may have rows of an earlier one, which are newer. */
const TABLE = `cut_${Date.now()}`;

const why = await whyNoCassandra();
if (why !== null) console.log(`Connections to Cassandra that are cut are not tested: ${why}`);

Deno.test({
  name: "connections to Cassandra that are cut again and again are made anew, and no listeners are left of the former",
  ignore: why !== null,
  // What a client that is closed looks for at last has timers of its own.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    await using server = await borrowCassandra();
    const [hostname, port] = server.address.split(":");
    await using proxy = new Proxy({ hostname: "127.0.0.1", port: 0 }, { hostname, port: Number(port) });
    await using session = new CassandraSession({ options: optionsFor(proxy.address) });
    const warnings: string[] = [];
    const onWarning = (warning: Error) => warnings.push(`${warning.name}: ${warning.message}`);
    process.on("warning", onWarning);
    try {
      await using opened = await createCassandraSink({ session, table: TABLE, columns: USER_COLUMNS });
      const sink = withRetry(opened, { onWaiting: () => {}, delayMsMax: 250 });
      const written = new Map<unknown, unknown>();
      let isOver = false;
      const writing = (async () => {
        for (let offset = 0; !isOver || offset < IDS; offset += IDS) {
          const users = Array.from(
            { length: IDS },
            (_, i) => ({ id: `u${i}`, name: `n${offset}`, offset: offset + i }),
          );
          await sink.write(userRows(users), { epoch: 1, signal: new AbortController().signal });
          for (const { id, name } of users) written.set(id, name);
        }
      })();
      for (let cut = 0; cut < CUTS; cut++) {
        await new Promise((resolve) => setTimeout(resolve, APART_MS));
        proxy.cut();
      }
      isOver = true;
      await writing;
      assert.deepEqual(await usersOf(server.address, TABLE), written);
    } finally {
      process.off("warning", onWarning);
    }
    assert.deepEqual(warnings, []);
  },
});
