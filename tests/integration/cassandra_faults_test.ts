import assert from "node:assert/strict";
import { CassandraSession } from "../../pipeline/sinks/cassandra/session.ts";
import { createCassandraSink } from "../../pipeline/sinks/cassandra/sink.ts";
import { withRetry } from "../../pipeline/sinks/retry.ts";
import { startCassandra, whyNoCassandra } from "../servers/cassandra.ts";
import { optionsFor } from "../sinks/cassandra_subject.ts";
import { USER_COLUMNS, userRows, usersOf } from "../sinks/cassandra_rows.ts";

const why = await whyNoCassandra();
if (why !== null) console.log(`What becomes of rows while Cassandra is away is not tested: ${why}`);
const ignore = why !== null;
const options = () => ({ epoch: 1, signal: new AbortController().signal });

Deno.test({
  name: "rows that are written while Cassandra is killed, and while it is frozen, wait and are all there afterwards",
  ignore,
  // What a client that is closed looks for at last has timers of its own.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    await using server = await startCassandra({ syncsWrites: true });
    await using session = new CassandraSession({ options: optionsFor(server.address) });
    const reasons: string[] = [];
    const onWaiting = (reason: string | null) => reason !== null && reasons.push(reason);
    await using opened = await createCassandraSink({ session, table: "users", columns: USER_COLUMNS });
    const sink = withRetry(opened, { onWaiting, delayMsMax: 1_000 });
    const written = new Map<unknown, unknown>();
    let offset = 0;
    const write = async (count: number) => {
      const users = Array.from(
        { length: count },
        () => ({ id: `user-${offset % 3_000}`, name: `n${offset}`, offset: offset++ }),
      );
      await sink.write(userRows(users), options());
      for (const { id, name } of users) written.set(id, name);
    };
    await write(5_000);

    let isOver = false;
    const writing = (async () => {
      while (!isOver) await write(2_000);
    })();
    await new Promise((resolve) => setTimeout(resolve, 300));
    await server.kill();
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const before = offset;
    await new Promise((resolve) => setTimeout(resolve, 500));
    assert.ok(offset - before <= 2_000, "nothing is written while it is away");
    await server.restart();
    isOver = true;
    await writing;
    assert.ok(reasons.some((reason) => /Cassandra does not serve tests.users now/.test(reason)), reasons[0]);
    assert.deepEqual(await usersOf(server.address, "users"), written);

    server.freeze();
    const during = write(2_000).then(() => "written");
    const early = await Promise.race([during, new Promise((resolve) => setTimeout(resolve, 1_500, "waiting"))]);
    assert.equal(early, "waiting");
    server.resume();
    assert.equal(await during, "written");
    assert.deepEqual(await usersOf(server.address, "users"), written);
  },
});
