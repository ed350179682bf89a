/**
 * The HTTP application: REST, live results over SSE, health, metrics, documentation and the dashboard.
 *
 * Web-standard APIs only, here and in all that this imports, so the same application serves from a Deno process and from an
 * edge runtime.
 *
 * @module
 */
import { OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import { bodyLimit } from "hono/body-limit";
import { HTTPException } from "hono/http-exception";
import { systemClock } from "../pipeline/clock.ts";
import { UnavailableError } from "../pipeline/errors.ts";
import type { AppDeps } from "./deps.ts";
import { onlyHosts, securityHeaders } from "./guards.ts";
import { withHead } from "./head.ts";
import { createLiveHub, type LiveHub } from "./live.ts";
import { problem, type ProblemError, ProblemException } from "./problem.ts";
import { auditRoutes } from "./routes/audit.ts";
import { backfillRoutes } from "./routes/backfill.ts";
import { bulkRoutes, isBulkPath } from "./routes/bulk.ts";
import { cassandraRoutes } from "./routes/cassandra.ts";
import { configRoutes } from "./routes/config.ts";
import { connectorRoutes } from "./routes/connectors.ts";
import { controlRoutes } from "./routes/control.ts";
import { dashboardRoutes } from "./routes/dashboard.ts";
import { docsRoutes } from "./routes/docs.ts";
import { explainRoutes } from "./routes/explain.ts";
import { exportRoutes } from "./routes/export.ts";
import { healthRoutes } from "./routes/health.ts";
import { ingestRoutes } from "./routes/ingest.ts";
import { lakeRoutes } from "./routes/lake.ts";
import { ledgerRoutes } from "./routes/ledger.ts";
import { letterRoutes } from "./routes/letters.ts";
import { liveRoutes } from "./routes/live.ts";
import { metricsRoutes } from "./routes/metrics.ts";
import { pipelineRoutes } from "./routes/pipelines.ts";
import { queryRoutes } from "./routes/queries.ts";
import { previewRoutes } from "./routes/preview.ts";
import { resultRoutes } from "./routes/results.ts";
import { signInRoutes } from "./routes/sign_in.ts";
import { sqlRoutes } from "./routes/sql.ts";
import { authorize, sameOrigin } from "./security/guard.ts";
import { type RequestLimits, requestLimits } from "./security/limits.ts";
import { Gatekeeper, type SecurityOptions } from "./security/security.ts";

export interface AppOptions {
  /**
   * Host names (without port) that requests have to name, or null for any. Give {@linkcode LOOPBACK_HOSTS} when listening on
   * loopback, where a foreign page could otherwise reach the API through a name that resolves to 127.0.0.1.
   */
  readonly hosts?: readonly string[] | null;
  /** Largest body of a request, bytes. */
  readonly bodyBytesMax?: number;
  /** Records in one request to write. */
  readonly recordsMax?: number;
  /** The hub that `deps.engine.live` feeds; made here unless given. Give it to close it at shutdown and to count its clients. */
  readonly hub?: LiveHub;
  /** Keys, audit log and settings. Without keys everybody who reaches the application may do everything: see `anonymous`. */
  readonly security?: SecurityOptions;
  readonly limits?: RequestLimits;
}

/**
 * Builds the application. Serve its `fetch`; call its `request(path, init)` in tests.
 *
 * @example
 * ```ts ignore
 * const hub = createLiveHub({}, systemClock);
 * const app = createApp(deps, { hosts: LOOPBACK_HOSTS, hub });
 * const server = Deno.serve({ hostname: "127.0.0.1", port: 8000 }, app.fetch);
 * // at shutdown: streams do not end by themselves
 * hub.close();
 * await server.shutdown();
 * ```
 */
export function createApp(deps: AppDeps, options: AppOptions = {}): OpenAPIHono {
  const { hosts = null, bodyBytesMax = 1024 * 1024, recordsMax = 1000, security = {} } = options;
  const app = new OpenAPIHono({ defaultHook: refuseInvalid });

  app.use(securityHeaders());
  app.use(requestLimits({ ownBounds: isBulkPath, ...options.limits }));
  if (hosts !== null) app.use(onlyHosts(hosts));
  app.use(sameOrigin());
  const gate = new Gatekeeper(security, systemClock);
  app.use(authorize(gate, { audit: security.audit ?? null, clock: systemClock }));
  const bounded = bodyLimit({
    maxSize: bodyBytesMax,
    onError: (c) => problem("body-too-large", { detail: `at most ${bodyBytesMax} bytes`, instance: c.req.path }),
  });
  app.use((c, next) => isBulkPath(c.req.path) ? next() : bounded(c, next));

  const hub = deps.engine ? options.hub ?? createLiveHub({}, systemClock) : null;
  if (hub) deps.engine!.live.subscribe((pipeline, rows) => hub.publish(pipeline, rows));

  pipelineRoutes(app, deps);
  resultRoutes(app, deps);
  cassandraRoutes(app, deps, () => systemClock.now());
  liveRoutes(app, deps, hub);
  ingestRoutes(app, deps, { bodyBytesMax, recordsMax });
  bulkRoutes(app, deps);
  ledgerRoutes(app, deps);
  explainRoutes(app, deps, options.limits);
  controlRoutes(app, deps, options.limits);
  connectorRoutes(app, deps, options.limits);
  backfillRoutes(app, deps, options.limits);
  previewRoutes(app, deps, options.limits);
  exportRoutes(app, deps);
  letterRoutes(app, deps);
  auditRoutes(app, deps, options.limits);
  lakeRoutes(app, deps);
  sqlRoutes(app, deps);
  queryRoutes(app, deps);
  healthRoutes(app, deps);
  metricsRoutes(app, deps);
  configRoutes(app, { settings: security.settings ?? null, audit: security.audit ?? null });
  signInRoutes(app, gate);
  docsRoutes(app, deps);
  dashboardRoutes(app, deps);

  const methodsOf = routeMethods(app);
  app.notFound((c) => {
    const instance = c.req.path;
    const allowed = methodsOf(instance);
    if (allowed.length === 0 || allowed.includes(c.req.method)) return problem("unknown-route", { instance });
    const allow = allowed.join(", ");
    return problem("method-not-allowed", { detail: `it takes ${allow}`, instance, headers: { allow } });
  });
  app.onError((error, c) => {
    const answer = answerTo(error, c);
    if (answer) return answer;
    deps.log?.(`${c.req.method} ${c.req.path} failed`, error);
    return problem("internal", { instance: c.req.path });
  });
  app.fetch = withHead(app.fetch);
  return app;
}

/** The problem for an error that is part of the contract; null for a bug. */
function answerTo(error: Error, c: Context): Response | null {
  const instance = c.req.path;
  if (error instanceof ProblemException) return problem(error.kind, { instance, ...error.options });
  if (error instanceof UnavailableError) return problem("unavailable", { detail: error.message, instance });
  if (error instanceof HTTPException && error.status === 415) return problem("unsupported-media-type", { instance });
  if (error instanceof HTTPException && error.status === 400) {
    return problem("malformed-json", { detail: error.message, instance });
  }
  return null;
}

interface Issue {
  readonly code?: string;
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly errors?: readonly (readonly Issue[])[];
}

/** Answers a request that does not fit its schema with everything at fault. */
function refuseInvalid(
  result: { target: string; success: boolean; error?: { issues: readonly unknown[] } },
  c: Context,
): Response | undefined {
  if (result.success) return undefined;
  const place = result.target === "json" ? "body" : result.target;
  const errors = (result.error!.issues as readonly Issue[]).flatMap((issue) => flatten(issue, place));
  return problem("invalid-request", { instance: c.req.path, errors });
}

function flatten(issue: Issue, place: string): ProblemError[] {
  const where = issue.path.reduce<string>(
    (at, key) => typeof key === "number" ? `${at}[${key}]` : `${at}.${String(key)}`,
    place,
  );
  if (issue.code !== "invalid_union" || !issue.errors?.length) return [{ where, problem: issue.message }];
  // Of several shapes, the one whose fault lies deepest is the one that was meant.
  const depth = (issues: readonly Issue[]) => Math.max(...issues.map((issue) => issue.path.length));
  const meant = issue.errors.reduce((best, issues) => depth(issues) > depth(best) ? issues : best);
  return meant.flatMap((inner) => flatten(inner, where));
}

/** Which methods each address takes, to tell 405 from 404. */
function routeMethods(app: OpenAPIHono): (path: string) => string[] {
  const routes = app.routes.filter(({ method }) => method !== "ALL").map(({ method, path }) => ({
    method,
    pattern: new RegExp(`^${path.replaceAll(/:\w+\{\.\+\}/g, ".+").replaceAll(/:\w+/g, "[^/]+")}$`),
  }));
  return (path) => {
    const methods = new Set(routes.filter(({ pattern }) => pattern.test(path)).map(({ method }) => method));
    if (methods.has("GET")) methods.add("HEAD");
    return [...methods].sort();
  };
}
