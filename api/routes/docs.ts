import type { OpenAPIHono } from "@hono/zod-openapi";
import type { AppDeps } from "../deps.ts";
import { docsPage, type OpenApiDocument } from "../docs_page.ts";
import { documentAccess } from "../security/document.ts";

/** `/openapi.json` and `/docs`. Register last: the document holds the routes registered before. */
export function docsRoutes(app: OpenAPIHono, { version }: AppDeps): void {
  const document = app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Tailrace",
      version,
      description:
        "Windowed answers over Kafka topics: the pipelines that run here, their results, and a way in for records. " +
        "Errors are application/problem+json.",
    },
    servers: [{ url: "/" }],
  });
  documentAccess(document);

  app.get("/openapi.json", (c) => c.json(document));
  app.get("/docs", (c) => c.html(docsPage(document as OpenApiDocument, new URL(c.req.url).origin)));
}
