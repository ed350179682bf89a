/**
 * A small user-profile API: users that change, read in pages of every kind, with ETags, a rate limit and faults on demand.
 *
 *     GET /users?updated_since=..                    pages by Link header
 *     GET /cursor /page /offset, POST /search        the same by other means
 *     GET /events?after=..                           changes in order, by a cursor that is kept
 *
 * @module
 */

export interface Profile {
  id: string;
  name: string;
  contact: { email: string | null };
  country: string | null;
  tier: string;
  updated_at: string;
}

/** What the next requests get instead of an answer: each fault once, in turn. */
export type Fault = (request: Request) => Response | Promise<Response> | null;

export class ProfileApi implements AsyncDisposable {
  readonly users = new Map<string, Profile>();
  readonly changes: Profile[] = [];
  /** Path and query of all that was asked. */
  readonly asked: string[] = [];
  /** Status of each answer, in the order of their ends. */
  readonly answered: number[] = [];
  readonly faults: Fault[] = [];
  pageSize: number;
  /** Asked of every request when it is set. */
  token: string | null = null;
  readonly port: number;
  #server: Deno.HttpServer<Deno.NetAddr> | null;

  constructor({ pageSize = 10, port = 0 }: { readonly pageSize?: number; readonly port?: number } = {}) {
    this.pageSize = pageSize;
    this.#server = this.#listen(port);
    this.port = this.#server.addr.port;
  }

  url(path = "/users"): string {
    return `http://127.0.0.1:${this.port}${path}`;
  }

  /** Writes a user, at `atMs`. */
  put(id: number | string, atMs: number, fields: Partial<Profile> = {}): void {
    const profile: Profile = {
      id: String(id),
      name: `User ${id}`,
      contact: { email: `user${id}@example.com` },
      country: ["DE", "FR", null][Number(id) % 3] ?? null,
      tier: "free",
      updated_at: new Date(atMs).toISOString(),
      ...fields,
    };
    this.users.set(profile.id, profile);
    this.changes.push(profile);
  }

  /** Listens no more; `start` does again, at the same port. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    await server?.shutdown();
  }

  start(): void {
    this.#server ??= this.#listen(this.port);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #listen(port: number): Deno.HttpServer<Deno.NetAddr> {
    return Deno.serve({ hostname: "127.0.0.1", port, onListen: () => {} }, async (request) => {
      const response = await this.#answer(request);
      this.answered.push(response.status);
      return response;
    });
  }

  async #answer(request: Request): Promise<Response> {
    const url = new URL(request.url);
    this.asked.push(url.pathname + url.search);
    const fault = await this.faults.shift()?.(request);
    if (fault) return fault;
    if (this.token !== null && request.headers.get("authorization") !== `Bearer ${this.token}`) {
      return new Response("who are you?", { status: 401 });
    }
    const body = request.method === "POST" ? await request.json() as { since?: string; page?: { token?: string } } : {};
    const since = url.searchParams.get("updated_since") ?? body.since ?? "";
    const all = [...this.users.values()]
      .filter(({ updated_at }) => updated_at >= since)
      .sort((a, b) => a.updated_at < b.updated_at ? -1 : a.updated_at > b.updated_at ? 1 : Number(a.id) - Number(b.id));
    switch (url.pathname) {
      case "/users":
        return await this.#linked(request, url, all);
      case "/cursor":
      case "/search": {
        const at = Number(url.searchParams.get("cursor") ?? body.page?.token ?? 0);
        const next = at + this.pageSize < all.length ? String(at + this.pageSize) : null;
        return Response.json({ data: { users: all.slice(at, at + this.pageSize) }, next });
      }
      case "/page": {
        const page = Number(url.searchParams.get("page"));
        return Response.json(all.slice((page - 1) * this.pageSize, page * this.pageSize));
      }
      case "/offset": {
        const at = Number(url.searchParams.get("offset"));
        return Response.json(all.slice(at, at + this.pageSize));
      }
      case "/events": {
        const at = Number(url.searchParams.get("after") ?? 0);
        const events = this.changes.slice(at, at + this.pageSize);
        return Response.json({
          events,
          next: String(at + events.length),
          more: at + events.length < this.changes.length,
        });
      }
      default:
        return new Response("no such thing", { status: 404 });
    }
  }

  async #linked(request: Request, url: URL, all: readonly Profile[]): Promise<Response> {
    const page = Number(url.searchParams.get("page") ?? 1);
    const text = JSON.stringify({ users: all.slice((page - 1) * this.pageSize, page * this.pageSize) });
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))).toHex();
    const etag = `"${hash.slice(0, 16)}"`;
    if (request.headers.get("if-none-match") === etag) return new Response(null, { status: 304, headers: { etag } });
    const headers = new Headers({ "content-type": "application/json", etag });
    if (page * this.pageSize < all.length) {
      const next = new URL(url);
      next.searchParams.set("page", String(page + 1));
      headers.append("link", `<${url.pathname}?page=1>; rel="first", <${next.pathname}${next.search}>; rel="next"`);
    }
    return new Response(text, { headers });
  }
}
