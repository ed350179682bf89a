/**
 * Which keys a lake's store has. @module
 */
import { ConfigError } from "../../errors.ts";

/** Longer ones are refused by S3. */
const KEY_BYTES_MAX = 1_024;

/**
 * Makes sure that a key names an object under the root and nothing else: no empty part, no `.` or `..`, no control character, and
 * no first part with a dot in front, which is where a store keeps what is its own.
 *
 * @throws ConfigError
 */
export function checkKey(key: string): string {
  const fault = keyFault(key);
  if (fault !== null) throw new ConfigError({ where: "lake", problem: `${JSON.stringify(key)} is no key: ${fault}` });
  return key;
}

function keyFault(key: string): string | null {
  if (new TextEncoder().encode(key).length > KEY_BYTES_MAX) return `longer than ${KEY_BYTES_MAX} bytes`;
  // deno-lint-ignore no-control-regex -- those are what is refused
  if (/[\u0000-\u001f\u007f\\]/.test(key)) return "a control character or backslash is in it";
  const parts = key.split("/");
  if (parts.some((part) => part === "" || part === "." || part === "..")) return "a part of it is empty, . or ..";
  if (parts[0].startsWith(".")) return "its first part begins with a dot";
  return null;
}
