import postgres from "postgres";
import project from "../../deno.json" with { type: "json" };
import { createEdgeApp } from "./app.ts";

const url = Deno.env.get("DATABASE_URL");
if (!url) throw new Error("DATABASE_URL is not set: the PostgreSQL that Tailrace writes its results to");
const app = await createEdgeApp(postgres(url, { max: 1, onnotice: () => {} }), project.version);

export default { fetch: app.fetch } satisfies Deno.ServeDefaultExport;
