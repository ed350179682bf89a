import type { OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { AppDeps } from "../deps.ts";

/** `/`, `/connectors`, `/letters`, `/lake` and `/assets/...`: the dashboard's files, answered with 304 when the browser has them already. */
export function dashboardRoutes(app: OpenAPIHono, { asset }: AppDeps): void {
  const serve = async (c: Context, path: string) => {
    const response = await asset(path);
    if (!response) return c.notFound();
    const etag = response.headers.get("etag");
    if (etag !== null && c.req.header("if-none-match")?.split(/,\s*/).includes(etag)) {
      await response.body?.cancel();
      return c.body(null, 304, { etag, "cache-control": response.headers.get("cache-control") ?? "no-cache" });
    }
    return response;
  };

  app.get("/", (c) => serve(c, "index.html"));
  app.get("/connectors", (c) => serve(c, "connectors.html"));
  app.get("/letters", (c) => serve(c, "letters.html"));
  app.get("/lake", (c) => serve(c, "lake.html"));
  app.get("/assets/:path{.+}", (c) => serve(c, c.req.param("path")));
}
