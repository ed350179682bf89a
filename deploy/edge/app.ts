/**
 * The API without an engine beside it, for an edge runtime: published results out of a PostgreSQL somewhere else. Web standards and
 * TCP sockets (for `npm:postgres`) are all it needs. What can be read is what the database says has run against it.
 *
 * Deno Deploy and its like serve a module's default export; here that is
 *
 *     DATABASE_URL=postgres://... deno serve --allow-net --allow-env --allow-read deploy/edge/main.ts
 *
 * @module
 */
import { createApp } from "../../api/app.ts";
import type { Statements } from "../../api/postgres_statements.ts";
import { createResultReader, storedPipeline } from "../../api/results_postgres.ts";
import type { Plan } from "../../pipeline/plan/plan.ts";

/** Builds the application over the database that `statements` asks, and the caller closes. */
export async function createEdgeApp(statements: Statements, version: string): Promise<ReturnType<typeof createApp>> {
  const rows = await statements.rows("SELECT definition::text FROM tailrace.pipelines ORDER BY name", []);
  const pipelines = rows.map(([definition]) => storedPipeline(JSON.parse(definition!) as Plan));
  return createApp({
    pipelines,
    results: createResultReader(statements, pipelines),
    ready: async () => {
      const ready = await statements.rows("SELECT '1'", []).then(() => true, () => false);
      return [{ name: "postgres", ready, detail: ready ? "answers" : "does not answer" }];
    },
    asset: () => Promise.resolve(null),
    version,
  }, { security: { anonymous: "viewer" } });
}
