/**
 * Who may do what: every route of the application and the role it asks for.
 *
 * **Adding a route: add one line to {@linkcode ROUTE_ACCESS}**, `"METHOD /path": "role"`, with the path as it was registered
 * (`/v1/pipelines/:name`; `createRoute`'s braces become a colon). A route without a line is refused to everybody, whatever
 * key they have, and a test says which one it is.
 *
 * @module
 */

/** What a key is for; each may do all that the ones before it may. */
export const ROLES = ["viewer", "operator", "admin"] as const;
export type Role = (typeof ROLES)[number];

/** `open` asks for no key at all. */
export type Access = "open" | Role;

/**
 * - `open`: says nothing about data, or is the way to sign in.
 * - `viewer`: reads states, results and records.
 * - `operator`: changes what pipelines read or publish.
 * - `admin`: sees settings and who did what.
 *
 * What asks for operator or admin is written to the audit log.
 */
export const ROUTE_ACCESS: Readonly<Record<string, Access>> = {
  "GET /healthz": "open",
  "GET /readyz": "open", // without details, unless a viewer asks
  "GET /assets/:path{.+}": "open", // the dashboard's code and style, the same for everybody
  "GET /sign-in": "open",
  "POST /sign-in": "open",
  "POST /sign-out": "open",

  "GET /": "viewer",
  "GET /docs": "viewer",
  "GET /openapi.json": "viewer",
  "GET /metrics": "viewer",
  "GET /v1/whoami": "viewer",
  "GET /v1/pipelines": "viewer",
  "GET /v1/pipelines/:name": "viewer",
  "GET /v1/pipelines/:name/results": "viewer",
  "GET /v1/pipelines/:name/results/stream": "viewer",
  "GET /v1/cassandra/:table": "viewer",
  "GET /v1/live": "viewer",
  "GET /v1/ledger": "viewer",
  "GET /v1/explain": "viewer",
  "GET /connectors": "viewer",
  "GET /v1/connectors": "viewer",
  "GET /v1/connectors/:name": "viewer",
  "GET /v1/connectors/:name/rejected": "viewer",
  "GET /letters": "viewer",
  "GET /v1/letters": "viewer",
  "GET /v1/letters/:kind/:topic/:partition/:offset": "viewer",
  "GET /v1/audit": "viewer",
  "GET /v1/audit/:pipeline/differences": "viewer",
  "GET /lake": "viewer",
  "GET /v1/lake": "viewer",
  "GET /v1/lake/:table": "viewer",
  "GET /v1/sql": "viewer",
  "POST /v1/sql": "viewer", // it reads, whatever the method
  "GET /v1/sql/relations": "viewer",
  "DELETE /v1/sql/:id": "viewer", // whoever knows a question's id may end it
  "GET /v1/queries": "viewer",
  "GET /v1/queries/:name": "viewer",

  "POST /v1/topics/:topic/records": "operator",
  "POST /v1/topics/:topic/bulk": "operator",
  "POST /v1/letters/redrive": "operator",
  "POST /v1/connectors/:name/stop": "operator",
  "POST /v1/connectors/:name/start": "operator",
  "PUT /v1/connectors/:name/limit": "operator",
  "POST /v1/pipelines/:name/stop": "operator",
  "POST /v1/pipelines/:name/start": "operator",
  "POST /v1/pipelines/:name/rewind": "operator",
  "PUT /v1/pipelines/:name/limit": "operator",
  "GET /v1/pipelines/:name/backfill": "viewer",
  "GET /v1/export": "viewer",
  "POST /v1/pipelines/:name/backfill": "operator",
  "DELETE /v1/pipelines/:name/backfill": "operator",
  "POST /v1/preview": "operator",

  "PUT /v1/queries/:name": "admin",
  "DELETE /v1/queries/:name": "admin",
  "POST /v1/lake/:table/compact": "admin",
  "POST /v1/lake/:table/vacuum": "admin",
  "GET /v1/config": "admin",
  "GET /v1/audit-log": "admin",
  "POST /v1/audit/:pipeline/repair": "admin",
};

/** A route as the application has registered it. */
export interface RegisteredRoute {
  readonly method: string;
  readonly path: string;
}

/** The line of {@linkcode ROUTE_ACCESS} that a route needs. */
export function accessKey({ method, path }: RegisteredRoute): string {
  return `${method} ${path}`;
}

/** Routes that answer, as opposed to what runs before every one of them (`app.use`). */
export function isAnswering({ method, path }: RegisteredRoute): boolean {
  return method !== "ALL" || path !== "/*";
}

/**
 * What a request that matches these routes needs: the most that any of them asks for. `refuse` when one has no line in the
 * table; a viewer's role where there is no route at all, so that a stranger learns nothing about which addresses exist.
 */
export function neededAccess(matched: readonly RegisteredRoute[], table = ROUTE_ACCESS): Access | "refuse" {
  const answering = matched.filter(isAnswering);
  if (answering.length === 0) return "viewer";
  let needed: Access = "open";
  for (const route of answering) {
    const key = accessKey(route);
    if (!Object.hasOwn(table, key)) return "refuse";
    if (rank(table[key]) > rank(needed)) needed = table[key];
  }
  return needed;
}

/** Whether a role (null: no key) may do what asks for `needed`. */
export function allows(role: Role | null, needed: Access): boolean {
  return needed === "open" || (role !== null && rank(role) >= rank(needed));
}

function rank(access: Access): number {
  return access === "open" ? -1 : ROLES.indexOf(access);
}
