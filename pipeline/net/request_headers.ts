/**
 * Headers as definitions have them: a name, and one line of text or a secret.
 *
 * @module
 */
import { ConfigError, type Fault } from "../errors.ts";
import { isSecret, type SecretReference, type Secrets } from "../secrets.ts";

export type HeaderValue = string | SecretReference;
export type RequestHeaders = Readonly<Record<string, HeaderValue>>;

/** Whether a text may be a header's name (a token of RFC 9110). */
export function isToken(text: unknown): text is string {
  return typeof text === "string" && /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(text);
}

/** Whether a text may be a header's value: one line, without control characters but the tab, of characters of one byte. */
export function isHeaderValue(text: unknown): text is string {
  return typeof text === "string" && /^[\t\x20-\x7e\x80-\xff]*$/.test(text);
}

/** What is wrong with `headers`, `where` being their own name. */
export function headerFaults(headers: RequestHeaders | undefined, where: string): Fault[] {
  return Object.entries(headers ?? {}).flatMap(([name, value]) => {
    if (!isToken(name)) return [{ where, problem: `${JSON.stringify(name)} is no name of a header` }];
    if (isSecret(value) || isHeaderValue(value)) return [];
    return [{ where: `${where}.${name}`, problem: 'is neither one line of text nor secret("..")' }];
  });
}

/** By their names in lower case. @throws ConfigError when a secret is not set, or is none that a header can have */
export function headersOf(headers: RequestHeaders | undefined, secrets: Secrets): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers ?? {}).map(([name, value]) => [name.toLowerCase(), headerText(value, secrets)]),
  );
}

/** @throws ConfigError as `headersOf` */
export function headerText(value: HeaderValue, secrets: Secrets): string {
  if (!isSecret(value)) return value;
  const text = secrets.get(value);
  if (isHeaderValue(text)) return text;
  // Not quoted: it is a secret.
  throw new ConfigError({
    where: `secret ${value.secret}`,
    problem: "goes into a header, and is not one line of text of ISO 8859-1",
  });
}
