/** Where the polling of an API is. @module */
import type { SourcePosition } from "../source.ts";
import type { HttpPollSpec } from "./definition.ts";
import type { Page } from "./paging.ts";
import { hashOf, type SeenState } from "./seen.ts";

/** By which the next request asks whether something changed at all. */
export interface Validators {
  /** Hash of the URL that they belong to. */
  readonly of: string;
  readonly etag: string | null;
  readonly lastModified: string | null;
}

export interface HttpPosition extends SourcePosition {
  /** Hashes of the parts of the definition that its page and its since-value belong to. */
  readonly of: { readonly page: string; readonly since: string } | null;
  /** Between two rounds it waits for the next one. */
  readonly isInRound: boolean;
  /** When this round, or the last one, began; milliseconds since the epoch. */
  readonly roundMs: number | null;
  /** Pages of this round that are read. */
  readonly pages: number;
  /** To ask for next; null for the first. */
  readonly page: Page;
  /** Records of that page that are written already. */
  readonly items: number;
  /** The largest value by which to ask, of all rounds that ended; null for none. */
  readonly since: number | null;
  /** The same with this round's so far. */
  readonly largest: number | null;
  readonly seen: SeenState | null;
  readonly validators: Validators | null;
}

export const FIRST_POSITION: HttpPosition = {
  of: null,
  isInRound: false,
  roundMs: null,
  pages: 0,
  page: null,
  items: 0,
  since: null,
  largest: null,
  seen: null,
  validators: null,
};

/** Where to go on by a definition that may be another one than the position is of: what does not belong to it is left out. */
export function positionFor(spec: HttpPollSpec, position: HttpPosition | null): HttpPosition {
  const { url, method, query, body, paging, since } = spec;
  const of = {
    page: hashOf(JSON.stringify([url, method, query, body, paging, since?.to])),
    since: hashOf(JSON.stringify([url, since?.path, since?.as])),
  };
  const at = { ...FIRST_POSITION, ...position };
  const { isInRound, pages, page, items, validators, largest, since: value } = FIRST_POSITION;
  return {
    ...at,
    ...(at.of?.page === of.page ? {} : { isInRound, pages, page, items, validators, largest }),
    ...(at.of?.since === of.since ? {} : { since: value, largest }),
    of,
  };
}
