import { withRetry } from "../../pipeline/sinks/retry.ts";
import { sinkContract } from "../contracts/sink_contract.ts";
import { type PostgresServer, startPostgres } from "./postgres_server.ts";
import { postgresSubject } from "./postgres_subject.ts";

let server: PostgresServer;
Deno.test.beforeAll(async () => {
  server = await startPostgres();
});
Deno.test.afterAll(async () => await server[Symbol.asyncDispose]());

sinkContract("postgres sink", postgresSubject(() => server));
sinkContract("postgres sink with retry", async (columns) => {
  const subject = await postgresSubject(() => server)(columns);
  return { ...subject, sink: withRetry(subject.sink, { firstDelayMs: 10, delayMsMax: 100 }) };
});
sinkContract("postgres sink, COPY at any size", postgresSubject(() => server, { copyRowsMin: 1 }));
sinkContract(
  "postgres sink, upserts only, unprepared",
  postgresSubject(() => server, { copyRowsMin: Infinity, prepare: false, chunkRowsMax: 7_001 }),
);
