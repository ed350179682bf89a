/**
 * The REST API of Confluent's Schema Registry over {@linkcode Registry}.
 *
 * @module
 */
import { type Context, Hono } from "hono";
import type { Version } from "./catalog.ts";
import type { Registry, SchemaRequest } from "./registry.ts";
import { Refusal } from "./refusal.ts";

export const BODY_BYTES_MAX = 1024 * 1024;
const CONTENT_TYPE = "application/vnd.schemaregistry.v1+json";
/** Content types that requests may have. A web page of another origin cannot send these without being asked about. */
const ACCEPTED = /^application\/(json|octet-stream|vnd\.schemaregistry(\.v1)?\+json)\s*(;|$)/i;
/** Names a loopback server answers to: a foreign page that reaches it through a name of its own is turned away. */
const LOOPBACK_HOST = /^(localhost|[a-z0-9-]+\.localhost|host\.docker\.internal|[0-9.]+|\[[0-9a-f:.]+\])(:[0-9]+)?$/i;

export interface RegistryAppOptions {
  /** Answer only requests that name this machine. */
  readonly loopbackOnly: boolean;
  readonly log?: (line: string) => void;
}

export function createRegistryApp(registry: Registry, { loopbackOnly, log = () => {} }: RegistryAppOptions): Hono {
  const app = new Hono();
  const { catalog } = registry;

  app.use(async (c, next) => {
    if (loopbackOnly && !LOOPBACK_HOST.test(c.req.header("host") ?? "localhost")) {
      throw new Refusal(403, `This registry does not answer to ${c.req.header("host")}`);
    }
    const type = c.req.header("content-type");
    if (type !== undefined && !ACCEPTED.test(type)) throw new Refusal(415, `HTTP 415 Unsupported Media Type: ${type}`);
    await next();
  });
  app.notFound((c) =>
    answer(c, { error_code: 404, message: `HTTP 404 Not Found: ${c.req.method} ${c.req.path}` }, 404)
  );
  app.onError((error, c) => {
    if (error instanceof Refusal) {
      const { code, message } = error;
      return answer(c, { error_code: code, message }, error.status);
    }
    log(`registry: ${c.req.method} ${c.req.path} failed: ${error.stack ?? error.message}`);
    return answer(c, { error_code: 50001, message: `Error in the registry's store: ${error.message}` }, 500);
  });

  app.get("/", (c) => answer(c, {}));
  app.get("/v1/metadata/id", (c) => answer(c, { scope: { path: [], clusters: {} }, id: "" }));
  app.get("/contexts", (c) => answer(c, ["."]));

  app.get("/subjects", (c) => {
    const prefix = (c.req.query("subjectPrefix") ?? "").replace(/^:\*:/, "");
    const live = new Set(catalog.subjects());
    const all = catalog.subjects(flag(c, "deleted") || flag(c, "deletedOnly"));
    const names = all.filter((name) => name.startsWith(prefix) && !(flag(c, "deletedOnly") && live.has(name)));
    return answer(c, page(c, names));
  });
  app.post("/subjects/:subject", async (c) => {
    const options = { normalize: flag(c, "normalize"), deleted: flag(c, "deleted") };
    const subject = c.req.param("subject");
    return answer(c, versionJson(subject, registry.lookUp(subject, await body(c), options)));
  });
  app.delete("/subjects/:subject", async (c) => {
    return answer(c, await registry.deleteSubject(c.req.param("subject"), flag(c, "permanent")));
  });
  app.get("/subjects/:subject/versions", (c) => {
    const list = registry.versions(c.req.param("subject"), flag(c, "deleted") || flag(c, "deletedOnly"));
    const wanted = flag(c, "deletedOnly") ? list.filter(({ deleted }) => deleted) : list;
    return answer(c, page(c, wanted.map(({ version }) => version)));
  });
  app.post("/subjects/:subject/versions", async (c) => {
    const { id } = await registry.register(c.req.param("subject"), await body(c), flag(c, "normalize"));
    return answer(c, { id });
  });
  app.get("/subjects/:subject/versions/:version", (c) => {
    const { subject, version } = c.req.param();
    return answer(c, versionJson(subject, registry.version(subject, version, flag(c, "deleted"))));
  });
  app.get("/subjects/:subject/versions/:version/schema", (c) => {
    const { subject, version } = c.req.param();
    return answerText(c, registry.version(subject, version, flag(c, "deleted")).schema.text);
  });
  app.get("/subjects/:subject/versions/:version/referencedby", (c) => {
    const { subject, version } = c.req.param();
    registry.version(subject, version, false);
    return answer(c, []);
  });
  app.delete("/subjects/:subject/versions/:version", async (c) => {
    const { subject, version } = c.req.param();
    return answer(c, await registry.deleteVersion(subject, version, flag(c, "permanent")));
  });

  app.get("/schemas/types", (c) => answer(c, ["AVRO"]));
  app.get("/schemas/ids/:id", (c) => {
    const { text } = registry.schema(c.req.param("id"));
    return answer(c, { schema: text, ...(flag(c, "fetchMaxId") ? { maxId: catalog.nextId - 1 } : {}) });
  });
  app.get("/schemas/ids/:id/schema", (c) => answerText(c, registry.schema(c.req.param("id")).text));
  app.get("/schemas/ids/:id/subjects", (c) => answer(c, [...new Set(uses(c).map(({ subject }) => subject))]));
  app.get("/schemas/ids/:id/versions", (c) => answer(c, uses(c).map(({ subject, version }) => ({ subject, version }))));

  function uses(c: Context) {
    const found = catalog.uses(registry.schema(c.req.param("id")!).id);
    return flag(c, "deleted") ? found : found.filter(({ deleted }) => !deleted);
  }

  app.post("/compatibility/subjects/:subject/versions/:version?", async (c) => {
    const { subject, version = null } = c.req.param();
    const messages = registry.check(subject, await body(c), version, flag(c, "normalize"));
    return answer(c, { is_compatible: messages.length === 0, ...(flag(c, "verbose") ? { messages } : {}) });
  });

  app.get("/config", (c) => answer(c, { compatibilityLevel: registry.level(null) }));
  app.put("/config", async (c) => {
    await registry.setLevel(null, await setting(c, "compatibility"));
    return answer(c, { compatibility: registry.level(null) });
  });
  app.delete("/config", async (c) => {
    await registry.setLevel(null, null);
    return answer(c, { compatibilityLevel: registry.level(null) });
  });
  app.get("/config/:subject", (c) => {
    const subject = c.req.param("subject");
    if (!catalog.levels.has(subject) && !flag(c, "defaultToGlobal")) throw noLevel(subject);
    return answer(c, { compatibilityLevel: registry.level(subject) });
  });
  app.put("/config/:subject", async (c) => {
    const subject = c.req.param("subject");
    await registry.setLevel(subject, await setting(c, "compatibility"));
    return answer(c, { compatibility: registry.level(subject) });
  });
  app.delete("/config/:subject", async (c) => {
    const subject = c.req.param("subject");
    const before = await registry.setLevel(subject, null);
    if (before === null) throw noLevel(subject);
    return answer(c, { compatibilityLevel: before });
  });

  app.get("/mode", (c) => answer(c, { mode: registry.mode(null) }));
  app.put("/mode", async (c) => {
    await registry.setMode(null, await setting(c, "mode"));
    return answer(c, { mode: registry.mode(null) });
  });
  app.get("/mode/:subject", (c) => {
    const subject = c.req.param("subject");
    if (!catalog.modes.has(subject) && !flag(c, "defaultToGlobal")) throw noMode(subject);
    return answer(c, { mode: registry.mode(subject) });
  });
  app.put("/mode/:subject", async (c) => {
    const subject = c.req.param("subject");
    await registry.setMode(subject, await setting(c, "mode"));
    return answer(c, { mode: registry.mode(subject) });
  });
  app.delete("/mode/:subject", async (c) => {
    const subject = c.req.param("subject");
    const before = await registry.setMode(subject, null);
    if (before === null) throw noMode(subject);
    return answer(c, { mode: before });
  });
  return app;
}

function answer(c: Context, value: unknown, status = 200): Response {
  return answerText(c, JSON.stringify(value), status);
}

function answerText(c: Context, text: string, status = 200): Response {
  return c.body(text, status as 200, { "content-type": CONTENT_TYPE });
}

function flag(c: Context, name: string): boolean {
  return c.req.query(name)?.toLowerCase() === "true";
}

/** `offset` and `limit` of a listing. */
function page<T>(c: Context, list: readonly T[]): readonly T[] {
  const offset = Math.max(0, Number(c.req.query("offset") ?? 0) || 0);
  const limit = Number(c.req.query("limit") ?? -1);
  return limit >= 0 ? list.slice(offset, offset + limit) : list.slice(offset);
}

async function body(c: Context): Promise<SchemaRequest & Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(await bodyText(c.req.raw));
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw new Refusal(400, `The request's body is not JSON: ${(error as Error).message}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Refusal(422, "The request's body is not a JSON object");
  }
  return value as Record<string, unknown>;
}

/** The body, up to the limit. Hono's own limiter looks at `request.signal`, which makes Deno print a warning. */
async function bodyText(request: Request): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body ?? []) {
    size += chunk.length;
    if (size > BODY_BYTES_MAX) throw new Refusal(413, `The request is larger than ${BODY_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return await new Blob(chunks as Uint8Array<ArrayBuffer>[]).text();
}

/** A setting to put. Null would take it back, which is for DELETE, so it is passed on as an invalid value. */
async function setting(c: Context, name: string): Promise<unknown> {
  return (await body(c))[name] ?? "";
}

function versionJson(subject: string, { version, schema }: Version) {
  return { subject, version, id: schema.id, schema: schema.text };
}

function noLevel(subject: string): Refusal {
  return new Refusal(40408, `Subject '${subject}' does not have subject-level compatibility configured`);
}

function noMode(subject: string): Refusal {
  return new Refusal(40409, `Subject '${subject}' does not have subject-level mode configured`);
}
