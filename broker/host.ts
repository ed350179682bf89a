/**
 * The address that parts are told to listen on: whom it lets in, and how it looks in a URL.
 *
 * @module
 */

/** Whether only this machine reaches what listens there. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || isLoopbackAddress(host);
}

/** The address itself when it is one of loopback's, else 127.0.0.1: for what must never serve a network. */
export function loopbackAddress(host: string): string {
  return isLoopbackAddress(host) ? host : "127.0.0.1";
}

/** The host as a URL has it; for "all addresses" the one by which this machine reaches itself. */
export function urlHost(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  if (host === "::") return "[::1]";
  return host.includes(":") ? `[${host}]` : host;
}

function isLoopbackAddress(host: string): boolean {
  return host === "::1" || host.startsWith("127.");
}
