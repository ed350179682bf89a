/**
 * Pages as positions keep them: without what is secret.
 *
 * A link often repeats the URL it was asked by. What it repeats of one that is secret is kept as a number in `<>`, which no URL has
 * in it, and is put back when the page is asked for:
 *
 *     https://api.example.com/users?apikey=..&page=2        <1>?<6>&page=2
 *
 * @module
 */
import { MalformedRecordError } from "../../errors.ts";
import { isSecret, type Secrets, secretsIn } from "../../secrets.ts";
import type { HttpPollSpec } from "./definition.ts";
import type { Page } from "./paging.ts";

/** Shorter than this a text is in too much by chance. */
const CHARACTERS_MIN = 4;
/** Of a secret URL, of which not all is secret: where pages are no URLs, a short part, as `limit=1000` has, says nothing. */
const PART_CHARACTERS_MIN = 16;
/** What was encoded more often than this is not looked through. */
const DECODINGS = 3;

interface Hidden {
  readonly name: string;
  readonly text: string;
  readonly charactersMin: number;
}

export class KeptPages {
  /** Of the URL, by their numbers. */
  readonly #pieces: readonly string[];
  readonly #pattern: RegExp | null;
  readonly #hidden: readonly Hidden[];
  readonly #isUrl: boolean;
  /** Pages are numbers of our own. */
  readonly #isCounted: boolean;

  /** @param isUrl whether pages are URLs */
  constructor(spec: HttpPollSpec, { url, secrets, isUrl }: {
    readonly url: URL;
    readonly secrets: Secrets;
    readonly isUrl: boolean;
  }) {
    const texts = secretsIn(spec).map(({ secret }) => ({ name: secret, text: secrets.get({ secret }) }));
    const query = new URL(url);
    for (const [name, value] of Object.entries(spec.query ?? {})) query.searchParams.set(name, String(value));
    const own = isSecret(spec.url) ? { name: spec.url.secret, ...partsOf(url) } : { name: "", pieces: [], texts: [] };
    const parameters = [...query.searchParams].filter(([, value]) => texts.some(({ text }) => text === value));
    this.#pieces = [...own.pieces, ...parameters.flatMap(([name, value]) => written(name, value))];
    const longestFirst = [...new Set(this.#pieces)].filter(({ length }) => length >= CHARACTERS_MIN)
      .sort((a, b) => b.length - a.length);
    this.#pattern = longestFirst.length === 0 ? null : new RegExp(longestFirst.map(RegExp.escape).join("|"), "g");
    const partMin = isUrl ? CHARACTERS_MIN : PART_CHARACTERS_MIN;
    this.#hidden = [
      ...texts.map((one) => ({ ...one, charactersMin: CHARACTERS_MIN })),
      ...own.texts.map((text) => ({ name: own.name, text, charactersMin: partMin })),
    ].filter(({ text, charactersMin }) => text.length >= charactersMin);
    this.#isUrl = isUrl;
    this.#isCounted = spec.paging?.by === "page" || spec.paging?.by === "offset";
  }

  /** A page as it may be kept. @throws MalformedRecordError when it holds a secret all the same */
  keep(page: Page): Page {
    if (typeof page !== "string") return this.#checked(page);
    const kept = this.#isUrl && this.#pattern !== null
      ? page.replace(this.#pattern, (piece) => `<${this.#pieces.indexOf(piece)}>`)
      : page;
    return this.#checked(kept);
  }

  /** The URL of a page that was kept. @throws MalformedRecordError when the secret URL is another one by now */
  url(page: Page): URL {
    const text = String(page).replace(/<(\d+)>/g, (number, index) => this.#pieces[index] ?? number);
    if (/[<>]/.test(text) || !URL.canParse(text)) {
      throw new MalformedRecordError("the page that was kept is none of the URL that the secret has now");
    }
    return new URL(text);
  }

  /** A page of a position that was written before, by a version that kept more or with another secret; null when it is of no use. */
  again(page: Page): Page {
    if (page === null) return null;
    try {
      return this.keep(this.#isUrl ? this.url(page).href : page);
    } catch (error) {
      if (error instanceof MalformedRecordError) return null;
      throw error;
    }
  }

  /** The name of the secret that a text holds, plain or percent-encoded; null when it holds none. */
  secretIn(text: string): string | null {
    const readings = [text];
    for (let i = 0; i < DECODINGS; i++) readings.push(decoded(readings[i]));
    readings.push(decoded(text.replaceAll("+", " ")));
    return this.#hidden.find((hidden) => readings.some((reading) => reading.includes(hidden.text)))?.name ?? null;
  }

  #checked(page: Page): Page {
    const name = page === null || this.#isCounted ? null : this.secretIn(String(page));
    if (name === null) return page;
    throw new MalformedRecordError(
      `the next page holds the text of secret ${name}, and positions are kept where others read them: give a key as auth`,
    );
  }
}

/** A URL in pieces as a link may repeat them, and what is secret in them. */
function partsOf(url: URL): { readonly pieces: readonly string[]; readonly texts: readonly string[] } {
  const segments = url.pathname.split("/").slice(1);
  const parameters = [...url.searchParams];
  const asGiven = url.search.slice(1).split("&");
  const base = url.origin + url.pathname;
  return {
    pieces: [
      base + url.search,
      base,
      url.origin,
      ...segments,
      ...asGiven,
      ...parameters.flatMap(([name, value]) => written(name, value)),
      ...asGiven.flatMap((parameter) => parameter.split("=").slice(1).join("=")),
    ],
    texts: [...segments.map(decoded), ...parameters.flatMap(([name, value]) => value === "" ? [name] : [value])],
  };
}

/** A parameter as it may be in a URL, alone and by its value. */
function written(name: string, value: string): string[] {
  const form = new URLSearchParams([[name, value]]).toString();
  const plain = `${encodeURIComponent(name)}=${encodeURIComponent(value)}`;
  return [form, plain, form.slice(form.indexOf("=") + 1), encodeURIComponent(value), value];
}

/** Once, as far as it is valid. */
function decoded(text: string): string {
  return text.replace(/(?:%[0-9a-f]{2})+/gi, (bytes) => {
    try {
      return decodeURIComponent(bytes);
    } catch {
      return bytes.replace(/%([2-7][0-9a-f])/gi, (_, byte) => String.fromCharCode(parseInt(byte, 16)));
    }
  });
}
