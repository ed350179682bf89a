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
import type postgres from "postgres";
import { createApp } from "../../api/app.ts";
import { createResultReader, storedPipeline } from "../../api/results_postgres.ts";
import type { Plan } from "../../pipeline/plan/plan.ts";

/** Builds the application over a postgres.js client, which the caller closes. */
export async function createEdgeApp(sql: postgres.Sql, version: string): Promise<ReturnType<typeof createApp>> {
  const rows = await sql<{ definition: Plan }[]>`SELECT definition FROM tailrace.pipelines ORDER BY name`;
  const pipelines = rows.map(({ definition }) => storedPipeline(definition));
  return createApp({
    pipelines,
    results: createResultReader(sql, pipelines),
    ready: async () => {
      const ready = await sql`SELECT 1`.then(() => true, () => false);
      return [{ name: "postgres", ready, detail: ready ? "answers" : "does not answer" }];
    },
    asset: () => Promise.resolve(null),
    version,
  }, { security: { anonymous: "viewer" } });
}
