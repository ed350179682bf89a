/**
 * The registry's rules: what may be registered, looked up and deleted, and in what order it reaches the disk. Errors and
 * their codes are those of Confluent's Schema Registry 7, whose clients look at them.
 *
 * @module
 */
import { type AvroType, parseSchema } from "../../pipeline/codec/parse_schema.ts";
import { Catalog, type Mode, type RegisteredSchema, type RegistryEvent, type Version } from "./catalog.ts";
import { incompatibilities, type Level, LEVELS } from "./compatibility.ts";
import { EventLog } from "./event_log.ts";
import { Refusal } from "./refusal.ts";
import { compactText, identity, type Json, normalized, parseText } from "./schema_text.ts";

export const SUBJECT_CHARACTERS_MAX = 1024;
/** Versions, deleted ones included, over all subjects. */
export const VERSIONS_MAX = 100_000;

/** The body of a request that carries a schema. */
export interface SchemaRequest {
  readonly schema?: unknown;
  readonly schemaType?: unknown;
  readonly references?: unknown;
  readonly id?: unknown;
  readonly version?: unknown;
}

interface Candidate {
  readonly text: string;
  readonly identity: string;
  readonly type: AvroType;
}

export class Registry implements Disposable {
  readonly catalog: Catalog;
  readonly #log: EventLog<RegistryEvent>;
  readonly #versionsMax: number;
  /** Changes run one after the other: each sees what the one before it wrote. */
  #last: Promise<unknown> = Promise.resolve();
  #versions = 0;

  private constructor(catalog: Catalog, log: EventLog<RegistryEvent>, versionsMax: number) {
    this.catalog = catalog;
    this.#log = log;
    this.#versionsMax = versionsMax;
    for (const subject of catalog.subjects(true)) this.#versions += catalog.versions(subject, true).length;
  }

  /** @throws ConfigError when the file is damaged or in use */
  static async open(path: string, versionsMax = VERSIONS_MAX): Promise<Registry> {
    const catalog = new Catalog();
    return new Registry(
      catalog,
      await EventLog.open(path, (event: RegistryEvent) => catalog.apply(event)),
      versionsMax,
    );
  }

  [Symbol.dispose](): void {
    this.#log[Symbol.dispose]();
  }

  /** Resolves when every change asked for so far is on disk or refused. */
  async settled(): Promise<void> {
    await this.#last;
  }

  /** Registers a schema under a subject, or finds it there. Resolves when it is on disk. */
  register(subject: string, request: SchemaRequest, normalize: boolean): Promise<{ id: number; version: number }> {
    checkSubject(subject);
    if (request.id !== undefined && request.id !== -1) {
      throw new Refusal(42205, `Subject ${subject} is not in import mode: a schema cannot bring its own id`);
    }
    const candidate = readSchema(request, normalize);
    return this.#change(async () => {
      const found = this.catalog.find(subject, candidate.identity, { normalize, deleted: false });
      if (found) return { id: found.schema.id, version: found.version };
      this.#checkWritable(subject);
      const reasons = this.#reasons(candidate.type, this.catalog.versions(subject), this.level(subject));
      if (reasons.length > 0) {
        const message = `Schema being registered is incompatible with an earlier schema for subject "${subject}"`;
        throw new Refusal(409, `${message}, details: [${reasons.join("; ")}]`, reasons);
      }
      if (this.#versions >= this.#versionsMax) {
        throw new Refusal(42201, `The registry holds ${this.#versionsMax} versions, its most; delete some permanently`);
      }
      const known = this.catalog.byIdentity(candidate.identity);
      const id = known?.id ?? this.catalog.nextId;
      const version = (this.catalog.versions(subject, true).at(-1)?.version ?? 0) + 1;
      await this.#write({ op: "register", subject, version, id, schema: known?.text ?? candidate.text });
      this.#versions++;
      return { id, version };
    });
  }

  /** The version of a subject that has this schema. */
  lookUp(subject: string, request: SchemaRequest, options: { normalize: boolean; deleted: boolean }): Version {
    this.#existing(subject, options.deleted);
    const found = this.catalog.find(subject, readSchema(request, options.normalize).identity, options);
    if (!found) throw new Refusal(40403, "Schema not found");
    return found;
  }

  schema(id: string): RegisteredSchema {
    const found = /^[0-9]{1,10}$/.test(id) ? this.catalog.byId(Number(id)) : undefined;
    if (!found) throw new Refusal(40403, `Schema ${id} not found`);
    return found;
  }

  /** The versions of a subject, at least one. */
  versions(subject: string, withDeleted: boolean): readonly Version[] {
    return this.#existing(subject, withDeleted);
  }

  version(subject: string, version: string, withDeleted: boolean): Version {
    const number = readVersion(version);
    const list = this.#existing(subject, withDeleted);
    const found = number === "latest" ? list.at(-1) : list.find((item) => item.version === number);
    if (!found) throw new Refusal(40402, `Version ${version} not found.`);
    return found;
  }

  /** Why a schema does not fit one version, or, without one, those that registering would compare it with. */
  check(subject: string, request: SchemaRequest, version: string | null, normalize: boolean): string[] {
    checkSubject(subject);
    const { type } = readSchema(request, normalize);
    const against = version === null ? this.catalog.versions(subject) : [this.version(subject, version, false)];
    return this.#reasons(type, against, this.level(subject));
  }

  deleteSubject(subject: string, permanent: boolean): Promise<number[]> {
    return this.#change(async () => {
      this.#checkWritable(subject);
      const all = this.catalog.versions(subject, true);
      if (all.length === 0) throw unknownSubject(subject);
      const live = all.filter(({ deleted }) => !deleted);
      if (permanent && live.length > 0) {
        throw new Refusal(40405, `Subject '${subject}' was not deleted first before being permanently deleted`);
      }
      if (!permanent && live.length === 0) {
        throw new Refusal(40404, `Subject '${subject}' was soft deleted. Set permanent=true to delete permanently`);
      }
      const versions = (permanent ? all : live).map(({ version }) => version);
      await this.#write({ op: "delete", subject, versions, permanent });
      if (this.catalog.levels.has(subject)) await this.#write({ op: "config", subject, level: null });
      if (permanent) this.#versions -= versions.length;
      return versions;
    });
  }

  deleteVersion(subject: string, version: string, permanent: boolean): Promise<number> {
    return this.#change(async () => {
      this.#checkWritable(subject);
      const found = this.version(subject, version, permanent || readVersion(version) !== "latest");
      const name = `Subject '${subject}' Version ${found.version}`;
      if (permanent && !found.deleted) {
        throw new Refusal(40407, `${name} was not deleted first before being permanently deleted`);
      }
      if (!permanent && found.deleted) {
        throw new Refusal(40406, `${name} was soft deleted. Set permanent=true to delete permanently`);
      }
      await this.#write({ op: "delete", subject, versions: [found.version], permanent });
      if (permanent) this.#versions--;
      return found.version;
    });
  }

  /** The level in force for a subject; null for all subjects. */
  level(subject: string | null): Level {
    return this.catalog.levels.get(subject) ?? this.catalog.levels.get(null) ?? "BACKWARD";
  }

  mode(subject: string | null): Mode {
    return this.catalog.modes.get(subject) ?? this.catalog.modes.get(null) ?? "READWRITE";
  }

  /** Sets the level of a subject, or of all for null; a null level takes the setting back. Returns the level set before. */
  setLevel(subject: string | null, level: unknown): Promise<Level | null> {
    if (subject !== null) checkSubject(subject);
    const wanted = level === null ? null : LEVELS.find((known) => known === upperCased(level));
    if (wanted === undefined) {
      throw new Refusal(42203, `Invalid compatibility level. Valid values are ${LEVELS.join(", ").toLowerCase()}`);
    }
    return this.#change(async () => {
      const before = this.catalog.levels.get(subject) ?? null;
      if (before !== wanted) await this.#write({ op: "config", subject, level: wanted });
      return before;
    });
  }

  setMode(subject: string | null, mode: unknown): Promise<Mode | null> {
    if (subject !== null) checkSubject(subject);
    const wanted = mode === null ? null : upperCased(mode);
    if (wanted !== null && wanted !== "READWRITE" && wanted !== "READONLY") {
      throw new Refusal(42204, "Invalid mode. Valid values are READWRITE, READONLY");
    }
    return this.#change(async () => {
      const before = this.catalog.modes.get(subject) ?? null;
      if (before !== wanted) await this.#write({ op: "mode", subject, mode: wanted });
      return before;
    });
  }

  #existing(subject: string, withDeleted: boolean): readonly Version[] {
    const list = this.catalog.versions(subject, withDeleted);
    if (list.length === 0) throw unknownSubject(subject);
    return list;
  }

  #reasons(type: AvroType, earlier: readonly Version[], level: Level): string[] {
    return incompatibilities(type, earlier.map(({ schema }) => schema.type), level);
  }

  #checkWritable(subject: string): void {
    if (this.mode(subject) === "READONLY") throw new Refusal(42205, `Subject ${subject} is in read-only mode`);
  }

  async #write(event: RegistryEvent): Promise<void> {
    await this.#log.append(event);
    this.catalog.apply(event);
  }

  #change<T>(change: () => Promise<T>): Promise<T> {
    const done = this.#last.then(change);
    this.#last = done.catch(() => {});
    return done;
  }
}

function unknownSubject(subject: string): Refusal {
  return new Refusal(40401, `Subject '${subject}' not found.`);
}

function checkSubject(subject: string): void {
  // deno-lint-ignore no-control-regex
  if (subject.trim() === "" || subject.length > SUBJECT_CHARACTERS_MAX || /[\x00-\x1f\x7f]/.test(subject)) {
    throw new Refusal(
      42208,
      `The specified subject is not valid: 1 to ${SUBJECT_CHARACTERS_MAX} characters, none of them control characters`,
    );
  }
}

/** A word of a request, in capitals; an empty one for what is no text. */
function upperCased(word: unknown): string {
  return typeof word === "string" ? word.toUpperCase() : "";
}

function readVersion(text: string): number | "latest" {
  if (text === "latest" || text === "-1") return "latest";
  const version = /^[0-9]{1,10}$/.test(text) ? Number(text) : 0;
  if (version >= 1 && version < 2 ** 31) return version;
  throw new Refusal(
    42202,
    `The specified version '${text}' is not a valid version id. Allowed values are between [1, 2^31-1] and the string "latest"`,
  );
}

function readSchema(request: SchemaRequest, normalize: boolean): Candidate {
  const { schema, schemaType = "AVRO", references = [] } = request;
  if (schemaType !== "AVRO" && schemaType !== "" && schemaType !== null) {
    const told = typeof schemaType === "string" ? schemaType : JSON.stringify(schemaType);
    throw new Refusal(
      42201,
      `Invalid schema type ${told}: the embedded registry keeps AVRO only; for others use a registry of your own`,
    );
  }
  if (references !== null && (!Array.isArray(references) || references.length > 0)) {
    throw new Refusal(
      42201,
      "Invalid schema: the embedded registry does not keep references; write the referenced types into the schema",
    );
  }
  if (typeof schema !== "string" || schema.trim() === "") throw new Refusal(42201, "Empty schema");
  try {
    const given = parseText(schema);
    const kept: Json = normalize ? normalized(given) : given;
    const text = compactText(kept);
    return { text, identity: identity(kept), type: parseSchema(JSON.parse(text)) };
  } catch (error) {
    throw new Refusal(42201, `Invalid schema: ${(error as Error).message}`);
  }
}
