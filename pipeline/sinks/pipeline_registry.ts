import type postgres from "postgres";
import type { Plan } from "../plan/plan.ts";
import { sortedError } from "./postgres_errors.ts";

/**
 * Notes in `tailrace.pipelines` that a pipeline has started, so that people find its table. Needs the migrations applied.
 *
 * @throws UnavailableError when the server is away
 */
export async function registerPipeline(sql: postgres.Sql, plan: Plan): Promise<void> {
  const table = plan.sinks.find((sink) => sink.kind === "postgres")?.table ?? null;
  try {
    await sql`
      INSERT INTO tailrace.pipelines (name, fingerprint, table_name, started_at, definition)
      VALUES (${plan.name}, ${plan.fingerprint}, ${table}, now(), ${JSON.stringify(plan)}::text::jsonb)
      ON CONFLICT (name) DO UPDATE SET fingerprint = excluded.fingerprint, table_name = excluded.table_name,
        started_at = excluded.started_at, definition = excluded.definition`;
  } catch (error) {
    throw sortedError(error, "tailrace.pipelines");
  }
}
