import project from "../../deno.json" with { type: "json" };
import { Statements } from "../../api/postgres_statements.ts";
import { postgresClient } from "../../pipeline/postgres_client.ts";
import { createEdgeApp } from "./app.ts";

const url = Deno.env.get("DATABASE_URL");
if (!url) throw new Error("DATABASE_URL is not set: the PostgreSQL that Tailrace writes its results to");
const statements = new Statements(() => postgresClient(url, { connect_timeout: 5, backoff: () => 0 }));
const app = await createEdgeApp(statements, project.version);

export default { fetch: app.fetch } satisfies Deno.ServeDefaultExport;
