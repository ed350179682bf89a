/** Letters in one page, at most. */
export const PAGE_MAX = 1_000;
/** Letters named one by one in a request to redrive. */
export const PLACES_MAX = 1_000;
/** Records that one request to redrive writes, and how many a second, unless told. */
export const CAP_DEFAULT = 1_000;
export const RATE_DEFAULT = 1_000;
/** Letters that a report tells of one by one; the rest is only counted. */
export const ITEMS_MAX = 1_000;
/** After this a redrive ends, and its `next` goes on. */
export const REDRIVE_MS_MAX = 25_000;
/** Letters looked at for one page, or by one read of a redrive, about. A page with few matches ends short, and its `next` goes on. */
export const LOOKS_MAX = 50_000;
