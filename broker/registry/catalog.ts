/**
 * What the registry knows: schemas by id, versions by subject, settings. Changes only through {@linkcode Catalog.apply},
 * with the events that the log keeps.
 *
 * @module
 */
import type { AvroType } from "../../pipeline/codec/parse_schema.ts";
import { parseSchema } from "../../pipeline/codec/parse_schema.ts";
import type { Level } from "./compatibility.ts";
import { identity, normalized, parseText } from "./schema_text.ts";

export type Mode = "READWRITE" | "READONLY";

/** One line of the log. `subject: null` is the setting for all subjects; a null value takes the setting back. */
export type RegistryEvent =
  | {
    readonly op: "register";
    readonly subject: string;
    readonly version: number;
    readonly id: number;
    readonly schema: string;
  }
  | {
    readonly op: "delete";
    readonly subject: string;
    readonly versions: readonly number[];
    readonly permanent: boolean;
  }
  | { readonly op: "config"; readonly subject: string | null; readonly level: Level | null }
  | { readonly op: "mode"; readonly subject: string | null; readonly mode: Mode | null };

export interface RegisteredSchema {
  readonly id: number;
  readonly text: string;
  readonly identity: string;
  readonly type: AvroType;
}

export interface Version {
  readonly version: number;
  readonly schema: RegisteredSchema;
  /** Deleted softly: still found by id, no longer by subject. */
  readonly deleted: boolean;
}

export class Catalog {
  readonly #byId = new Map<number, RegisteredSchema>();
  readonly #byIdentity = new Map<string, RegisteredSchema>();
  readonly #subjects = new Map<string, Version[]>();
  readonly levels = new Map<string | null, Level>();
  readonly modes = new Map<string | null, Mode>();
  #lastId = 0;

  get nextId(): number {
    return this.#lastId + 1;
  }

  /** Subjects with a version that is not deleted (or with any), sorted. */
  subjects(withDeleted = false): string[] {
    return [...this.#subjects].filter(([, list]) => list.some(({ deleted }) => withDeleted || !deleted))
      .map(([name]) => name).sort();
  }

  /** A subject's versions, oldest first; empty for an unknown one. */
  versions(subject: string, withDeleted = false): readonly Version[] {
    const list = this.#subjects.get(subject) ?? [];
    return withDeleted ? list : list.filter(({ deleted }) => !deleted);
  }

  /** A schema that some subject's version, deleted softly or not, still has. */
  byId(id: number): RegisteredSchema | undefined {
    return this.uses(id).length > 0 ? this.#byId.get(id) : undefined;
  }

  /** The schema of this identity, if it ever had an id: ids are never given to another schema. */
  byIdentity(text: string): RegisteredSchema | undefined {
    return this.#byIdentity.get(text);
  }

  uses(id: number): { subject: string; version: number; deleted: boolean }[] {
    return [...this.#subjects].flatMap(([subject, list]) =>
      list.filter(({ schema }) => schema.id === id).map(({ version, deleted }) => ({ subject, version, deleted }))
    );
  }

  /** A subject's version with this schema, the newest first. */
  find(subject: string, text: string, options: { normalize: boolean; deleted: boolean }): Version | undefined {
    return this.versions(subject, options.deleted).findLast(({ schema }) =>
      schema.identity === text || (options.normalize && identity(normalized(parseText(schema.text))) === text)
    );
  }

  apply(event: RegistryEvent): void {
    switch (event.op) {
      case "register": {
        let schema = this.#byId.get(event.id);
        if (schema === undefined) {
          const parsed = parseText(event.schema);
          const type = parseSchema(JSON.parse(JSON.stringify(parsed)));
          schema = { id: event.id, text: event.schema, identity: identity(parsed), type };
          this.#byId.set(event.id, schema);
          this.#byIdentity.set(schema.identity, schema);
          this.#lastId = Math.max(this.#lastId, event.id);
        }
        const list = this.#subjects.get(event.subject) ?? [];
        this.#subjects.set(event.subject, [...list, { version: event.version, schema, deleted: false }]);
        return;
      }
      case "delete": {
        const list = this.#subjects.get(event.subject) ?? [];
        const rest = event.permanent
          ? list.filter(({ version }) => !event.versions.includes(version))
          : list.map((item) => event.versions.includes(item.version) ? { ...item, deleted: true } : item);
        if (rest.length > 0) this.#subjects.set(event.subject, rest);
        else this.#subjects.delete(event.subject);
        return;
      }
      case "config":
        if (event.level === null) this.levels.delete(event.subject);
        else this.levels.set(event.subject, event.level);
        return;
      case "mode":
        if (event.mode === null) this.modes.delete(event.subject);
        else this.modes.set(event.subject, event.mode);
    }
  }
}
