/**
 * Secrets by reference: definitions name them, and only who runs them knows them.
 *
 * @module
 */
import { ConfigError, type Fault } from "./errors.ts";

/** The name of a secret: lower case, digits and `_`. */
export interface SecretReference {
  readonly secret: string;
}

/**
 * A password, token or address that is not written down in a definition: the environment variable `TAILRACE_SECRET_<NAME>`, or
 * the file `/run/secrets/<name>`.
 */
export function secret(name: string): SecretReference {
  return { secret: name };
}

export interface Secrets {
  /** Its text; null when there is none. */
  find(reference: SecretReference): string | null;
  /** @throws ConfigError saying where it is looked for */
  get(reference: SecretReference): string;
}

export function isSecret(value: unknown): value is SecretReference {
  return typeof value === "object" && value !== null && typeof (value as SecretReference).secret === "string";
}

/** All references inside plain data. */
export function secretsIn(value: unknown): SecretReference[] {
  if (isSecret(value)) return [value];
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return [];
  return Object.values(value).flatMap(secretsIn);
}

/** A fault for each reference inside plain data that no variable and no file can be named after; `where` is the data's place. */
export function secretNameFaults(value: unknown, where: string): Fault[] {
  if (isSecret(value)) {
    // Not quoted: it may be the secret itself.
    return isSecretName(value.secret)
      ? []
      : [{ where, problem: `is no name of a secret: a-z, 0-9 and _, a letter first, as secret("shop_token")` }];
  }
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return [];
  return Object.entries(value).flatMap(([name, inner]) =>
    secretNameFaults(inner, Array.isArray(value) ? `${where}[${name}]` : `${where}.${name}`)
  );
}

/** Why the first secret that plain data names is not there; null when all are. */
export function missingSecret(value: unknown, secrets: Secrets): string | null {
  for (const reference of secretsIn(value)) {
    try {
      secrets.get(reference);
    } catch (error) {
      if (error instanceof ConfigError) return error.message;
      throw error;
    }
  }
  return null;
}

/**
 * Secrets of this process: of its environment, or of `/run/secrets`, where Docker and Kubernetes put them.
 *
 * @param onFound told each text once it is read, so that logs can hide it
 */
export function createSecrets(
  { env, folder = "/run/secrets", onFound }: {
    readonly env: (name: string) => string | undefined;
    readonly folder?: string;
    readonly onFound: (text: string) => void;
  },
): Secrets {
  const found = (text: string) => {
    onFound(text);
    return text;
  };
  const find = ({ secret }: SecretReference) => {
    if (!isSecretName(secret)) return null;
    const given = env(variableOf(secret));
    if (given) return found(given);
    try {
      return found(Deno.readTextFileSync(`${folder}/${secret}`).trimEnd());
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return null;
      throw new ConfigError({ where: `secret ${secret}`, problem: (error as Error).message });
    }
  };
  return {
    find,
    get(reference) {
      const text = find(reference);
      if (text !== null) return text;
      const { secret } = reference;
      throw new ConfigError({
        where: `secret ${secret}`,
        problem: `is not set: give it as ${variableOf(secret)}, or in the file ${folder}/${secret}`,
      });
    },
  };
}

function isSecretName(name: string): boolean {
  return /^[a-z][a-z0-9_]*$/.test(name);
}

function variableOf(name: string): string {
  return `TAILRACE_SECRET_${name.toUpperCase()}`;
}
