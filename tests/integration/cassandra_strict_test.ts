import assert from "node:assert/strict";
import { createCassandra } from "../../cli/cassandra.ts";
import { ConfigError, UnavailableError } from "../../pipeline/errors.ts";
import { CassandraSession } from "../../pipeline/sinks/cassandra/session.ts";
import { createCassandraSink } from "../../pipeline/sinks/cassandra/sink.ts";
import { type CassandraServer, startCassandra, whyNoCassandra } from "../servers/cassandra.ts";
import { type Certificates, makeCertificates } from "../servers/certificates.ts";
import { optionsFor } from "../sinks/cassandra_subject.ts";
import { USER_COLUMNS, userRows } from "../sinks/cassandra_rows.ts";

const options = () => ({ epoch: 1, signal: new AbortController().signal });
const log = { info() {}, warn() {}, error() {} };

const why = await whyNoCassandra();
if (why !== null) console.log(`A Cassandra with passwords, TLS and full disks is not tested: ${why}`);
else {
  let folder: string;
  let certificates: Certificates;
  let server: CassandraServer;
  Deno.test.beforeAll(async () => {
    folder = await Deno.makeTempDir({ prefix: "tailrace-certificates-" });
    certificates = await makeCertificates(folder);
    server = await startCassandra({
      keystore: certificates.keystore,
      withPasswords: true,
      // It is only to users who are none of its own that a node says that its disks are full.
      settings: {
        data_disk_usage_percentage_warn_threshold: "1",
        data_disk_usage_percentage_fail_threshold: "2",
        data_disk_usage_max_disk_size: "1MiB",
      },
      properties: { "cassandra.disk_usage.monitor_interval_ms": "100" },
    });
  });
  Deno.test.afterAll(async () => {
    await server.stop();
    await Deno.remove(folder, { recursive: true });
  });

  /** As the settings TAILRACE_CASSANDRA_* give it. */
  const sessionOf = (username: string, password: string): CassandraSession => {
    const { tls: _, ...config } = optionsFor(server.address, { credentials: { username, password } });
    return createCassandra({ ...config, tls: { authoritiesFile: certificates.authorityFile } }, log);
  };
  /** As the role that there is at first, which is made a moment after the node answers. */
  const ownerOf = async (): Promise<CassandraSession> => {
    for (let tries = 0;; tries++) {
      const session = sessionOf("cassandra", "cassandra");
      if (await session.client().then(() => true, () => false)) return session;
      await session[Symbol.asyncDispose]();
      assert.ok(tries < 60, "the role cassandra is not there");
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  };

  Deno.test({
    name: "a cluster whose disks are full makes rows wait: none of them is refused for it",
    async fn() {
      await using owner = await ownerOf();
      const client = await owner.client();
      await client.execute("CREATE ROLE writer WITH PASSWORD = 'writer' AND LOGIN = true");
      await client.execute("GRANT ALL ON ALL KEYSPACES TO writer");
      await using session = sessionOf("writer", "writer");
      await using sink = await createCassandraSink({ session, table: "full", columns: USER_COLUMNS });
      const write = () => sink.write(userRows([{ id: "a", name: "n", offset: 0 }]), options());
      let error: unknown = null;
      for (let tries = 0; tries < 600 && !/disk usage/i.test(String(error)); tries++) {
        error = await write().then(() => null, (error) => error);
        assert.ok(error === null || error instanceof UnavailableError, String(error));
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      assert.match(String(error), /disk usage/i);
    },
  });

  Deno.test({
    name: "a wrong password and a name that nobody knows are told as what to put right",
    async fn() {
      await using right = await ownerOf();
      await using wrong = sessionOf("cassandra", "hunter2");
      const refused = await wrong.client().then(() => null, (error) => error);
      assert.ok(refused instanceof ConfigError, String(refused));
      assert.match(refused.message, /refuses user or password.*TAILRACE_CASSANDRA_PASSWORD/s);
      assert.ok(!refused.message.includes("hunter2"));

      const missing = await createCassandraSink({
        session: right,
        keyspace: "nowhere",
        table: "t",
        columns: USER_COLUMNS,
      })
        .then(() => null, (error) => error);
      assert.ok(missing instanceof ConfigError, String(missing));
      assert.match(
        missing.message,
        /nowhere: there is no such keyspace in Cassandra. Make it: CREATE KEYSPACE nowhere/,
      );

      const client = await right.client();
      await client.execute("CREATE ROLE reader WITH PASSWORD = 'reader' AND LOGIN = true");
      await client.execute("GRANT SELECT ON ALL KEYSPACES TO reader");
      await using reader = sessionOf("reader", "reader");
      const forbidden = await createCassandraSink({ session: reader, table: "theirs", columns: USER_COLUMNS })
        .then(() => null, (error) => error);
      assert.ok(forbidden instanceof ConfigError, String(forbidden));
      assert.match(forbidden.message, /Grant the user/);
    },
  });

  Deno.test({
    name: "Cassandra's certificate is checked: its authority's is to be named, and nothing is said to it in clear",
    async fn() {
      await using owner = await ownerOf();
      await using sink = await createCassandraSink({ session: owner, table: "secret", columns: USER_COLUMNS });
      await sink.write(userRows([{ id: "a", name: "n", offset: 0 }]), options());
      const { rows } = await (await owner.client()).execute("SELECT name FROM secret");
      assert.deepEqual(rows.map((row) => row.get("name")), ["n"]);

      const credentials = { username: "cassandra", password: "cassandra" };
      await using strangers = new CassandraSession({
        options: optionsFor(server.address, { credentials, tls: { authorities: null } }),
      });
      const refused = await strangers.client().then(() => null, (error) => error);
      assert.ok(refused instanceof ConfigError, String(refused));
      assert.match(refused.message, /certificate is not trusted.*TAILRACE_CASSANDRA_CA/s);

      await using clear = new CassandraSession({ options: optionsFor(server.address, { credentials }) });
      const unheard = await clear.client().then(() => null, (error) => error);
      assert.ok(unheard instanceof UnavailableError, String(unheard));
    },
  });
}
