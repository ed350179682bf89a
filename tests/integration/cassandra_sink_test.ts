import { fileURLToPath } from "node:url";
import { migrate } from "../../pipeline/sinks/migrate.ts";
import { sinkContract } from "../contracts/sink_contract.ts";
import { borrowCassandra, type BorrowedCassandra, whyNoCassandra } from "../servers/cassandra.ts";
import { borrowPostgres, type TestPostgres } from "../servers/postgres.ts";
import { cassandraSubject } from "../sinks/cassandra_subject.ts";
import { withClient } from "../sinks/postgres_subject.ts";

const MIGRATIONS = fileURLToPath(new URL("../../migrations", import.meta.url));

const why = await whyNoCassandra();
if (why !== null) console.log(`The sink's contract is not run against Apache Cassandra: ${why}`);
else {
  let cassandra: BorrowedCassandra;
  let postgres: TestPostgres;
  Deno.test.beforeAll(async () => {
    [cassandra, postgres] = await Promise.all([borrowCassandra(), borrowPostgres()]);
    await withClient(postgres.url, (sql) => migrate(sql, MIGRATIONS));
  });
  Deno.test.afterAll(async () => {
    await Promise.all([cassandra[Symbol.asyncDispose](), postgres[Symbol.asyncDispose]()]);
  });
  sinkContract("cassandra sink", cassandraSubject(() => cassandra, { postgresUrl: () => postgres.url }), {
    leavesTimers: true,
  });
}
