/**
 * How one answer leads to the next.
 *
 * @module
 */
import { MalformedRecordError } from "../../errors.ts";
import type { Paging, Parameter } from "./definition.ts";
import { jsonPath, valueAt } from "./json_path.ts";

/** Which page to ask for: as the kind of paging has it. Null is the first. */
export type Page = string | number | null;

/** Longest cursor or URL, characters: it is kept in the position. */
const CURSOR_CHARACTERS_MAX = 8_192;

export interface Answered {
  readonly headers: Headers;
  readonly body: unknown;
  /** Records in it. */
  readonly count: number;
  /** Of the request. */
  readonly url: URL;
}

export interface Pager {
  /** What is asked for after this answer. @throws MalformedRecordError when the answer makes no sense */
  next(page: Page, answered: Answered): Next;
  /** The parameter that says which page; null when the page is a URL, or is not to be named. */
  parameter(page: Page): { readonly to: Parameter; readonly value: string | number } | null;
  /** Pages are URLs. */
  readonly isUrl: boolean;
  /** Rounds go on from the last one's page. */
  readonly isKept: boolean;
}

export interface Next {
  /** Where to go on: in this round, or in the next one when this was the last page. */
  readonly page: Page;
  readonly isLast: boolean;
}

const END: Next = { page: null, isLast: true };

/** @throws Error for a definition that was not checked */
export function pager(paging: Paging | undefined): Pager {
  const none = { parameter: () => null, isUrl: false, isKept: false };
  if (paging === undefined) return { ...none, next: () => END };
  switch (paging.by) {
    case "link":
      return {
        ...none,
        isUrl: true,
        next: (page, { headers, url }) => urlAfter(page, linkNext(headers.get("link")), url),
      };
    case "url": {
      const path = jsonPath(paging.path);
      return { ...none, isUrl: true, next: (page, { body, url }) => urlAfter(page, valueAt(body, path), url) };
    }
    case "cursor": {
      const path = jsonPath(paging.path);
      const hasMore = moreOf(paging.more);
      const isKept = paging.keep ?? false;
      return {
        isUrl: false,
        isKept,
        parameter: (page) => page === null ? null : { to: paging.to, value: page },
        next(page, { body, count }) {
          const found = valueAt(body, path);
          if (found === undefined || found === null || found === "") return isKept ? { page, isLast: true } : END;
          if (typeof found !== "string" && typeof found !== "number") {
            throw new MalformedRecordError(`${paging.path}, the cursor, is neither a text nor a number`);
          }
          if (String(found).length > CURSOR_CHARACTERS_MAX) {
            throw new MalformedRecordError(
              `${paging.path}, the cursor, is longer than ${CURSOR_CHARACTERS_MAX} characters`,
            );
          }
          const isLast = hasMore(body) === false || (found === page && count === 0);
          if (isKept) return { page: found, isLast: isLast || count === 0 || found === page };
          if (isLast) return END;
          if (found === page) {
            throw new MalformedRecordError(
              `${paging.path}, the cursor, is the one that was given: there is no end to it`,
            );
          }
          return { page: found, isLast: false };
        },
      };
    }
    case "page":
    case "offset": {
      const hasMore = moreOf(paging.more);
      const first = paging.by === "page" ? paging.first ?? 1 : 0;
      return {
        isUrl: false,
        isKept: false,
        parameter: (page) => ({ to: paging.to, value: page ?? first }),
        next: (page, { body, count }) =>
          count === 0 || hasMore(body) === false
            ? END
            : { page: Number(page ?? first) + (paging.by === "page" ? 1 : count), isLast: false },
      };
    }
  }
}

/** What the body says of there being more; null when it says nothing. */
export function moreOf(more: string | undefined): (body: unknown) => boolean | null {
  if (more === undefined) return () => null;
  const path = jsonPath(more);
  return (body) => {
    const found = valueAt(body, path);
    return typeof found === "boolean" ? found : null;
  };
}

function urlAfter(page: Page, found: unknown, from: URL): Next {
  if (found === undefined || found === null || found === "") return END;
  if (typeof found !== "string" || found.length > CURSOR_CHARACTERS_MAX || !URL.canParse(found, from)) {
    throw new MalformedRecordError("the next page is no URL");
  }
  const url = new URL(found, from);
  url.hash = "";
  if (url.href === page || url.href === from.href) {
    throw new MalformedRecordError("the next page is this one: there is no end to it");
  }
  return { page: url.href, isLast: false };
}

/**
 * The target of `rel="next"` in a Link header (RFC 8288): `<https://..?page=2>; rel="next", <..>; rel="last"`; null without one.
 */
export function linkNext(header: string | null): string | null {
  const link = /\s*<([^>]*)>((?:\s*;\s*[\w!#$%&'*+.^`|~-]+(?:\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s",;]*))?)*)\s*(?:,|$)/gy;
  for (const [, target, parameters] of (header ?? "").matchAll(link)) {
    const [, quoted, bare] = /;\s*rel\s*=\s*(?:"([^"]*)"|([^\s",;]*))/i.exec(parameters) ?? [];
    if ((quoted ?? bare ?? "").toLowerCase().split(/\s+/).includes("next")) return target;
  }
  return null;
}
