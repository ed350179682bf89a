/**
 * Schemas by id and by subject, from a registry with Confluent's REST API.
 *
 * @module
 */
import type { SchemaRegistry as Kafkajs } from "@kafkajs/confluent-schema-registry";
import { ConfigError, MalformedRecordError, UnavailableError } from "../errors.ts";
import type { AvroSchema } from "../plan/plan.ts";
import { type Named, withReferences } from "./schema_references.ts";

/** Schemas kept by id, the least recently asked for going first. */
export const SCHEMAS_MAX = 1_000;
/** How long an id that the registry does not know is not asked for again. */
export const UNKNOWN_FOR_MS = 5_000;
export const REQUEST_TIMEOUT_MS = 10_000;

export interface RegistryClientOptions {
  /** Base URL; a user and password in it are used and never shown. */
  readonly url: string;
  readonly auth?: { readonly username: string; readonly password: string };
  readonly fetch?: typeof fetch;
  /** Default `SCHEMAS_MAX`. */
  readonly schemasMax?: number;
  readonly timeoutMs?: number;
  /** Milliseconds that never go back; `performance.now` unless given. */
  readonly now?: () => number;
}

export interface RegistryClient {
  /**
   * Registers a schema under a subject, or finds it there, and returns its id. Leaves the registry's settings alone.
   *
   * @throws ConfigError when the registry refuses the schema (invalid, incompatible) or the credentials
   * @throws UnavailableError when the registry is away
   */
  register(subject: string, schema: AvroSchema): Promise<number>;
  /**
   * The schema with this id, references written out; null when the registry answers that there is none, so that the record
   * can be a dead letter.
   *
   * @throws UnavailableError when the registry is away: wait, and ask again
   * @throws MalformedRecordError when the id belongs to a schema that is not Avro
   */
  schemaById(id: number): Promise<AvroSchema | null>;
  /** The newest version of a subject, null when there is none. @throws UnavailableError as `schemaById` */
  latest(subject: string): Promise<LatestSchema | null>;
}

/** Looks without changing anything. */
export interface SchemaFinder {
  /**
   * The id of a schema under a subject, whichever version it is; null when it is not registered there.
   *
   * @throws ConfigError when the registry refuses to look, as for a schema that is invalid
   * @throws UnavailableError when the registry is away
   */
  find(subject: string, schema: AvroSchema): Promise<number | null>;
}

export interface LatestSchema {
  readonly id: number;
  readonly version: number;
  readonly schema: AvroSchema;
}

/** Confluent's error codes for what is not there: subject, version, schema. */
const NOT_THERE = new Set([40401, 40402, 40403]);

interface SchemaAnswer {
  readonly id: number;
  readonly version: number;
  readonly schema: string;
  readonly schemaType?: string;
  readonly references?: readonly { readonly name: string; readonly subject: string; readonly version: number }[];
}

export function createRegistryClient(options: RegistryClientOptions): RegistryClient & SchemaFinder {
  return new RestClient(options);
}

class RestClient implements RegistryClient, SchemaFinder {
  readonly #base: string;
  readonly #auth: RegistryClientOptions["auth"];
  readonly #fetch: typeof fetch;
  readonly #schemasMax: number;
  readonly #timeoutMs: number;
  readonly #now: () => number;
  readonly #schemas = new Map<number, { schema: AvroSchema | null; until: number }>();
  /** One request at a time for an id, whoever asks. */
  readonly #underWay = new Map<number, Promise<AvroSchema | null>>();
  #kafkajs: Promise<Kafkajs> | null = null;

  constructor({ url, auth, fetch: ask = fetch, schemasMax = SCHEMAS_MAX, timeoutMs, now }: RegistryClientOptions) {
    const parsed = parseUrl(url);
    if (auth === undefined && parsed.username !== "") {
      auth = { username: decodeURIComponent(parsed.username), password: decodeURIComponent(parsed.password) };
    }
    parsed.username =
      parsed.password =
      parsed.search =
      parsed.hash =
        "";
    this.#base = parsed.href.replace(/\/+$/, "");
    this.#auth = auth;
    this.#fetch = ask;
    this.#schemasMax = schemasMax;
    this.#timeoutMs = timeoutMs ?? REQUEST_TIMEOUT_MS;
    this.#now = now ?? (() => performance.now());
  }

  async schemaById(id: number): Promise<AvroSchema | null> {
    const known = this.#schemas.get(id);
    if (known !== undefined && this.#now() < known.until) {
      this.#keep(id, known.schema, known.until);
      return known.schema;
    }
    const asked = this.#underWay.get(id) ?? this.#fetchById(id).finally(() => this.#underWay.delete(id));
    this.#underWay.set(id, asked);
    return await asked;
  }

  async latest(subject: string): Promise<LatestSchema | null> {
    const path = `/subjects/${encodeURIComponent(subject)}/versions/latest`;
    const answer = await this.#ask<SchemaAnswer>("GET", path, { has: { id: "number", schema: "string" } });
    if (answer === null) return null;
    return { id: answer.id, version: answer.version, schema: await this.#readSchema(answer) };
  }

  async register(subject: string, schema: AvroSchema): Promise<number> {
    const name = encodeURIComponent(subject);
    const text = JSON.stringify(schema);
    // Looked up first: needs no right to write, and works against a read-only registry.
    const found = await this.find(subject, schema);
    if (found !== null) return found;
    if (!isNamed(schema)) {
      // The package takes schemas with a name only.
      const made = await this.#ask<SchemaAnswer>("POST", `/subjects/${name}/versions`, {
        body: { schema: text },
        has: { id: "number" },
      });
      if (made === null) throw this.#failure(`register ${subject}`, null, "the registry has no such subject");
      return made.id;
    }
    const config = await this.#ask<{ compatibilityLevel: string }>("GET", `/config/${name}`, {
      has: { compatibilityLevel: "string" },
    });
    const kafkajs = await (this.#kafkajs ??= this.#loadKafkajs());
    try {
      const { id } = await kafkajs.register({ type: "AVRO", schema: text } as never, {
        subject,
        // The package refuses to register when these differ, and would otherwise set its own level.
        compatibility: (config?.compatibilityLevel.toUpperCase() ?? "BACKWARD") as never,
        updateConfig: false,
      });
      return id;
    } catch (error) {
      throw this.#failure(
        `register ${subject}`,
        (error as { status?: number }).status ?? null,
        (error as Error).message,
      );
    }
  }

  async find(subject: string, schema: AvroSchema): Promise<number | null> {
    const path = `/subjects/${encodeURIComponent(subject)}`;
    const body = { schema: JSON.stringify(schema) };
    return (await this.#ask<SchemaAnswer>("POST", path, { body, has: { id: "number" } }))?.id ?? null;
  }

  async #fetchById(id: number): Promise<AvroSchema | null> {
    const answer = await this.#ask<SchemaAnswer>("GET", `/schemas/ids/${id}`, { has: { schema: "string" } });
    const schema = answer === null ? null : await this.#readSchema(answer);
    this.#keep(id, schema, schema === null ? this.#now() + UNKNOWN_FOR_MS : Infinity);
    return schema;
  }

  #keep(id: number, schema: AvroSchema | null, until: number): void {
    this.#schemas.delete(id);
    this.#schemas.set(id, { schema, until });
    // A Map keeps the order of insertion: the first is the one asked for longest ago.
    if (this.#schemas.size > this.#schemasMax) this.#schemas.delete(this.#schemas.keys().next().value!);
  }

  async #readSchema(answer: SchemaAnswer): Promise<AvroSchema> {
    const { schema, schemaType = "AVRO", references = [] } = answer;
    if (schemaType !== "AVRO") throw new MalformedRecordError(`the schema is ${schemaType}, not Avro`);
    const referenced: Named[] = [];
    for (const { name, subject, version } of references) {
      const path = `/subjects/${encodeURIComponent(subject)}/versions/${version}`;
      const found = await this.#ask<SchemaAnswer>("GET", `${path}?deleted=true`, { has: { schema: "string" } });
      if (found === null) {
        throw new MalformedRecordError(`the schema refers to ${subject} version ${version}, which is gone`);
      }
      referenced.push({ name, schema: await this.#readSchema(found) });
    }
    return withReferences(parseSchemaText(schema), referenced);
  }

  /**
   * The answer, which must have the fields of `has`; or null when the registry says that what was asked for is not there.
   */
  async #ask<T>(
    method: string,
    path: string,
    { body, has }: { readonly body?: unknown; readonly has: { readonly [field in keyof T]?: "string" | "number" } },
  ): Promise<T | null> {
    const what = `${method} ${path}`;
    const timeout = new AbortController();
    const timer = setTimeout(() => timeout.abort(), this.#timeoutMs);
    let status: number;
    let text: string;
    try {
      const response = await this.#fetch(this.#base + path, {
        method,
        signal: timeout.signal,
        headers: {
          accept: "application/vnd.schemaregistry.v1+json, application/json",
          ...(body === undefined ? {} : { "content-type": "application/vnd.schemaregistry.v1+json" }),
          ...(this.#auth ? { authorization: basic(this.#auth) } : {}),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      status = response.status;
      text = await response.text();
    } catch (error) {
      const why = timeout.signal.aborted ? `no answer in ${this.#timeoutMs} ms` : (error as Error).message;
      throw this.#failure(what, null, why);
    } finally {
      clearTimeout(timer);
    }
    let answer: { error_code?: number; message?: string };
    try {
      answer = JSON.parse(text);
    } catch {
      // A proxy's page, or an address that is no registry's.
      throw this.#failure(what, status >= 400 ? status : null, "the answer is not JSON; is this a schema registry?");
    }
    if (status < 400) {
      // Something else answers in the registry's place, such as a proxy's health check: an outage, not a verdict on a record.
      const lacking = Object.entries(has).find(([field, type]) => typeOf((answer as never)?.[field]) !== type);
      if (lacking) throw this.#failure(what, null, `the answer has no ${lacking[0]}; is this a schema registry?`);
      return answer as T;
    }
    // 40408: the subject has no level of its own.
    if (status === 404 && (NOT_THERE.has(answer?.error_code ?? 0) || answer?.error_code === 40408)) return null;
    throw this.#failure(what, status, answer?.message ?? text.slice(0, 200));
  }

  #failure(what: string, status: number | null, why: string): Error {
    const { host } = new URL(this.#base);
    const text = this.#withoutSecrets(
      `schema registry at ${host}: ${what}: ${status === null ? "" : `HTTP ${status}: `}${why}`,
    );
    if (status === 401 || status === 403) {
      return new ConfigError({ where: "SCHEMA_REGISTRY_URL", problem: `${text}; check user and password` });
    }
    // 404 without a code: a wrong path in the address, or a proxy in front of a registry that is away.
    const refused = status !== null && [400, 405, 409, 413, 415, 422].includes(status);
    if (refused) return new ConfigError({ where: "schema registry", problem: text });
    return new UnavailableError(text);
  }

  #withoutSecrets(text: string): string {
    const { password } = this.#auth ?? { password: "" };
    if (password === "") return text;
    return text.replaceAll(password, "***").replaceAll(encodeURIComponent(password), "***");
  }

  /** Loaded when first needed: threads that only read schemas do without it. */
  async #loadKafkajs(): Promise<Kafkajs> {
    const { SchemaRegistry } = await import("@kafkajs/confluent-schema-registry");
    return new SchemaRegistry({
      host: this.#base,
      clientId: "tailrace",
      // Who calls us retries, with back-off and a signal.
      retry: { retries: 0 },
      ...(this.#auth ? { auth: this.#auth } : {}),
      middlewares: [
        () => ({ request: (request) => request.enhance({ timeout: this.#timeoutMs }) }),
      ],
    });
  }
}

function parseUrl(url: string): URL {
  const parsed = URL.parse(url);
  if (parsed === null || !["http:", "https:"].includes(parsed.protocol)) {
    // Not quoted: it may hold a password.
    throw new ConfigError({ where: "SCHEMA_REGISTRY_URL", problem: "is not an http:// or https:// address" });
  }
  return parsed;
}

function basic({ username, password }: { username: string; password: string }): string {
  return `Basic ${btoa(String.fromCharCode(...new TextEncoder().encode(`${username}:${password}`)))}`;
}

function parseSchemaText(text: string): AvroSchema {
  try {
    return JSON.parse(text);
  } catch {
    // The registry may keep a primitive by its bare name.
    if (/^[a-z]+$/.test(text.trim())) return text.trim();
    throw new MalformedRecordError("the registered schema is not JSON");
  }
}

function isNamed(schema: AvroSchema): boolean {
  return typeof schema === "object" && "name" in schema;
}

function typeOf(value: unknown): string {
  return typeof value;
}
