/**
 * What every request and response passes: the Host check and the security headers.
 *
 * @module
 */
import type { MiddlewareHandler } from "hono";
import { problem } from "./problem.ts";

/** Host names by which only this machine can mean itself. */
export const LOOPBACK_HOSTS: readonly string[] = ["localhost", "127.0.0.1", "[::1]"];

const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  // With "no-referrer" browsers would send `Origin: null` with the forms of our own pages.
  "referrer-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
};

/**
 * Refuses requests whose Host header names none of `hosts` (names without port). A page on another site can make its own
 * name resolve to 127.0.0.1 and then read a local API as if it were its own origin; its Host header still gives it away.
 */
export function onlyHosts(hosts: readonly string[]): MiddlewareHandler {
  const allowed = new Set(hosts.map((host) => host.toLowerCase()));
  return async (c, next) => {
    const host = (c.req.header("host") ?? new URL(c.req.url).host).toLowerCase().replace(/:\d+$/, "");
    if (allowed.has(host)) return await next();
    return problem("wrong-host", { detail: `this server answers to ${hosts.join(", ")} only`, instance: c.req.path });
  };
}

/** Adds the security headers to every response, errors included. No CORS header is ever sent. */
export function securityHeaders(): MiddlewareHandler {
  return async (c, next) => {
    await next();
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) c.res.headers.set(name, value);
  };
}
