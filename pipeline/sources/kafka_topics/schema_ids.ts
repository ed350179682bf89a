import { MalformedRecordError } from "../../errors.ts";
import type { RegistryClient } from "../../log/registry_client.ts";

/** Ids kept for each topic; one that was met longest ago is asked for again. */
export const IDS_MAX = 1_000;

/** The id under which a schema is known in the other registry, or why there is none. */
export type Translation = { readonly id: number } | { readonly reason: string };

/**
 * The ids of one registry as those of another: each schema that is met is registered there under the subject of the topic's values.
 * Safe to repeat: a registry gives a schema it has the id that it has.
 */
export class SchemaIds {
  readonly #from: RegistryClient;
  readonly #into: RegistryClient;
  readonly #subject: string;
  readonly #known = new Map<number, number>();

  constructor(options: { readonly from: RegistryClient; readonly into: RegistryClient; readonly topic: string }) {
    this.#from = options.from;
    this.#into = options.into;
    this.#subject = `${options.topic}-value`;
  }

  /** The id there, if it was asked for lately. */
  known(id: number): number | undefined {
    return this.#known.get(id);
  }

  /**
   * @throws UnavailableError when a registry is away
   * @throws ConfigError when the other registry refuses the schema, such as one that is not compatible with what it has
   */
  async translate(id: number): Promise<Translation> {
    const known = this.#known.get(id);
    if (known !== undefined) return { id: known };
    let schema;
    try {
      schema = await this.#from.schemaById(id);
    } catch (error) {
      if (!(error instanceof MalformedRecordError)) throw error;
      return { reason: `the schema ${id} cannot be translated: ${error.message}` };
    }
    if (schema === null) return { reason: `the registry of the topic knows no schema ${id}` };
    const there = await this.#into.register(this.#subject, schema);
    this.#known.set(id, there);
    if (this.#known.size > IDS_MAX) this.#known.delete(this.#known.keys().next().value!);
    return { id: there };
  }
}
