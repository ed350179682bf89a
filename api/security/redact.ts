/**
 * Keeps secrets out of what is shown: logs, errors, statuses, the API's answers.
 *
 * Two ways at once. What a setting marked secret held is known word for word, and replaced wherever it turns up, in whatever
 * message of whatever library. What looks like a secret is replaced too: the password in a URL, a bearer token, an API key.
 *
 * @module
 */

/** What stands in a secret's place. */
export const HIDDEN = "***";

/** A shorter secret is hidden only where it looks like one: replaced everywhere it would take every word apart. */
export const SECRET_CHARACTERS_MIN = 4;
/** Secrets known word for word: those of one configuration, many times over. */
const SECRETS_MAX = 1_000;

/** Module-wide, because loggers exist before settings are read and errors pass through many hands. */
const known = new Set<string>();
let pattern: RegExp | null = null;

/** Makes {@linkcode redact} replace a text from now on, as it is, and as URLs and JSON write it. */
export function hideSecret(secret: string): void {
  if (secret.length < SECRET_CHARACTERS_MIN) return;
  for (const form of formsOf(secret)) {
    if (known.size >= SECRETS_MAX) known.delete(known.values().next().value!);
    known.add(form);
  }
  // Longest first, so that of two secrets, one within the other, nothing is left over.
  const forms = [...known].sort((a, b) => b.length - a.length).map((form) => RegExp.escape(form));
  pattern = new RegExp(forms.join("|"), "g");
}

/** Hides the password that a URL holds, if it does; a password that is the user's name as well is no secret. */
export function hideUrlPassword(url: string): void {
  const userInfo = userInfoOf(url);
  if (userInfo === null) return;
  const { user, password } = userInfo;
  if (password !== user) hideSecret(password);
  for (const [, value] of url.matchAll(/[?&](?:ssl)?password=([^&#]*)/gi)) hideSecret(value);
}

/** The text without its secrets. */
export function redact(text: string): string {
  const words = pattern === null ? text : text.replace(pattern, HIDDEN);
  return words
    .replace(/([a-z][a-z0-9+.-]*:\/\/[^\s:/@]*):[^\s/]*@/gi, `$1:${HIDDEN}@`)
    .replace(/([?&](?:ssl)?password=)[^&\s"']*/gi, `$1${HIDDEN}`)
    .replace(/\b(password\s*=\s*)('[^']*'|[^\s'&"]+)/gi, `$1${HIDDEN}`)
    .replace(/\b(Bearer\s+)[\w.~+/=-]+/gi, `$1${HIDDEN}`)
    .replace(/\b(trk_[0-9a-f]{16}_)[\w-]{43}/g, `$1${HIDDEN}`);
}

/** The same value with {@linkcode redact} on every text in it, for what is written as JSON. */
export function redactAll(value: unknown): unknown {
  if (typeof value === "string") return redact(value);
  if (Array.isArray(value)) return value.map(redactAll);
  if (value instanceof Error) return redact(value.message);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, redactAll(inner)]));
}

/** A text that is meant to be a URL, without its password, even where it is none: the fault may be in the password. */
export function withoutPassword(text: string): string {
  // All up to the last "@": a password may hold one itself, and the scheme may be what is missing.
  const scheme = /^[a-z][a-z0-9+.-]*:\/\//i.exec(text)?.[0] ?? "";
  const rest = text.slice(scheme.length).replace(/^([^:@]*):.*@/s, `$1:${HIDDEN}@`);
  return scheme + rest.replace(/([?&](?:ssl)?password=)[^&]*/gi, `$1${HIDDEN}`);
}

/** User and password as the text has them, by the same rule as {@linkcode withoutPassword}. */
function userInfoOf(text: string): { readonly user: string; readonly password: string } | null {
  const found = /^(?:[a-z][a-z0-9+.-]*:\/\/)?([^:@]*):(.*)@/is.exec(text);
  return found && { user: found[1], password: found[2] };
}

/** How a secret may be written: as it is, in a URL, in JSON. */
function formsOf(secret: string): string[] {
  const forms = new Set([secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1)]);
  try {
    forms.add(decodeURIComponent(secret));
  } catch {
    // A percent sign that begins no escape: then no URL has it decoded.
  }
  const url = URL.parse("http://host/");
  if (url) {
    url.password = secret;
    forms.add(url.password);
  }
  return [...forms].filter((form) => form.length >= SECRET_CHARACTERS_MIN);
}
