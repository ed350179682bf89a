/**
 * What every request passes before its route: same origin, who it is, whether that is enough, and the note of what was done.
 *
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import { matchedRoutes } from "hono/route";
import type { Clock } from "../../pipeline/clock.ts";
import { problem } from "../problem.ts";
import type { AuditLog } from "./audit.ts";
import { accessKey, allows, isAnswering, neededAccess } from "./roles.ts";
import { type Caller, clientAddress, type Gatekeeper } from "./security.ts";

/**
 * Refuses requests that change something and that a page of another origin made a browser send. Browsers name the page's origin
 * in every such request; programs that are no browser send neither header.
 */
export function sameOrigin(): MiddlewareHandler {
  return async (c, next) => {
    if (c.req.method === "GET" || c.req.method === "HEAD") return await next();
    const site = c.req.header("sec-fetch-site");
    const origin = c.req.header("origin");
    // Newer browsers say it outright, on loopback and over HTTPS; elsewhere the origin has to be compared.
    const isForeign = site !== undefined
      ? site !== "same-origin" && site !== "none"
      : origin !== undefined && URL.parse(origin)?.host !== hostOf(c);
    if (!isForeign) return await next();
    const detail = `it was sent by a page of ${origin === undefined ? "another site" : "another origin"}`;
    return problem("cross-origin", { detail, instance: c.req.path });
  };
}

function hostOf(c: Context): string {
  return (c.req.header("host") ?? new URL(c.req.url).host).toLowerCase();
}

export interface GuardOptions {
  readonly audit: AuditLog | null;
  readonly clock: Clock;
}

/** Lets a request through to its routes when the caller's role allows all of them: see {@linkcode neededAccess}. */
export function authorize(gate: Gatekeeper, { audit, clock }: GuardOptions): MiddlewareHandler {
  return async (c, next) => {
    const matched = matchedRoutes(c);
    const needed = neededAccess(matched);
    const caller = await gate.callerOf(c).catch((error): Caller => {
      // Keys that cannot be read let nobody in, and take nothing from what is open.
      if (needed !== "open") throw error;
      return { name: "nobody", role: null, refused: null };
    });
    c.set("caller", caller);
    if (needed === "refuse") {
      const routes = matched.filter(isAnswering).map(accessKey).join(", ");
      return problem("forbidden", { detail: `${routes} has no role in api/security/roles.ts`, instance: c.req.path });
    }
    const isAudited = audit !== null && (needed === "operator" || needed === "admin");
    if (!allows(caller.role, needed)) {
      const answer = refusal(c, caller, needed);
      if (isAudited && caller.role !== null) await audit.append(entry(c, caller, { clock, status: answer.status }));
      return answer;
    }
    if (!isAudited) return await next();
    await audit.ready();
    await next();
    await audit.append(entry(c, caller, { clock, status: c.res.status }));
  };
}

function entry(c: Context, { name, role }: Caller, { clock, status }: { clock: Clock; status: number }) {
  const time = new Date(clock.now()).toISOString();
  return { time, who: name, role, from: clientAddress(c), method: c.req.method, path: c.req.path, status };
}

function refusal(c: Context, { name, role, refused }: Caller, needed: string): Response {
  const instance = c.req.path;
  if (role !== null) {
    return problem("forbidden", { detail: `it takes the role ${needed}; ${name} is ${role}`, instance });
  }
  if (refused?.why === "too many failures") {
    return problem("too-many-failures", { instance, headers: { "retry-after": String(refused.waitSeconds) } });
  }
  if (isNavigation(c)) {
    return c.redirect(`/sign-in?next=${encodeURIComponent(instance + new URL(c.req.url).search)}`, 303);
  }
  const detail = refused?.why === "unknown key"
    ? "the key is not known here"
    : refused?.why === "ended session"
    ? "the session has ended: sign in again"
    : "no key was given";
  return problem("unauthenticated", { detail, instance, headers: { "www-authenticate": 'Bearer realm="tailrace"' } });
}

/** A person who opened a page, as opposed to a script or program. */
function isNavigation(c: Context): boolean {
  return c.req.method === "GET" && (c.req.header("accept") ?? "").includes("text/html") &&
    c.req.header("authorization") === undefined;
}
