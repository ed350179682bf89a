/**
 * Backfills, previews and exports, made up, and how to get each documented answer of their routes.
 *
 * @module
 */
import type { BackfillDesk, BackfillJob } from "../../api/backfill_desk.ts";
import type { ExportDesk } from "../../api/export_desk.ts";
import type { PreviewDesk } from "../../api/preview_desk.ts";
import type { BackfillResult } from "../../pipeline/backfill/backfill.ts";
import { ConfigError, UnavailableError } from "../../pipeline/errors.ts";
import type { PreviewResult } from "../../pipeline/preview/preview.ts";
import { ACCOUNT_COLUMNS, type Fake, fakeDeps } from "./fake_deps.ts";

const JUDGED = { records: 9, aggregated: 5, filtered: 2, late: 1, duplicate: 1 };

const BACKFILLED: BackfillResult = {
  pipeline: "account_minute",
  fromMs: 0,
  handoverMs: 120_000,
  windows: 2,
  rows: 4,
  judged: JUDGED,
  unplaced: 1,
  archive: { table: "transactions", version: 7 },
  doubt: null,
  generation: 1,
  partitions: [{ partition: 0, archivedFrom: 0, archivedTo: 12, offset: 9, toRead: 4, isRaised: false }],
};

const JOB: BackfillJob = {
  pipeline: "account_minute",
  isPreview: false,
  state: "done",
  doing: "done",
  progress: { phase: "computing", windows: 2, windowsDone: 2, records: 9, recordsDone: 9, rowsDone: 4 },
  startedMs: 1,
  endedMs: 2,
  problem: null,
  result: BACKFILLED,
};

const PREVIEWED: PreviewResult = {
  pipeline: "account_minute",
  comparedWith: "account_minute",
  fromMs: 0,
  toMs: 60_000,
  windows: 1,
  rows: 2,
  keys: 2,
  judged: JUDGED,
  doubt: "a field may have been written under another name",
  archive: { table: "transactions", version: 7 },
  columns: {
    added: [ACCOUNT_COLUMNS[5]],
    removed: [],
    retyped: [{ name: "n", before: "long", after: "double" }],
  },
  difference: {
    before: 2,
    after: 2,
    same: 1,
    changed: 1,
    onlyBefore: 0,
    onlyAfter: 0,
    columns: { n: 1 },
    examples: [{
      kind: "changed",
      windowStartMs: 0,
      key: [{ name: "account_id", before: null, after: { value: "A-1", type: ACCOUNT_COLUMNS[0].type } }],
      values: [{
        name: "n",
        before: { value: 3, type: ACCOUNT_COLUMNS[3].type },
        after: { value: 4n ** 40n, type: ACCOUNT_COLUMNS[3].type },
      }],
    }],
  },
  changes: ["where", "emit"],
  state: { kind: "recomputes", rewindFromMs: null, rewindProblem: "the log begins later", backfillFromMs: 0 },
};

/** A desk whose last job is this one. */
export function fakeBackfills(job: BackfillJob | null = JOB, changes: Partial<BackfillDesk> = {}): () => Fake {
  const backfill = { begin: () => job, job: () => job, cancel: () => Promise.resolve(job), ...changes };
  return () => fakeDeps({ backfill });
}

export function fakePreviews(failure?: Error): () => Fake {
  const preview: PreviewDesk = { preview: () => failure ? Promise.reject(failure) : Promise.resolve(PREVIEWED) };
  return () => fakeDeps({ preview });
}

export function fakeExports(failure?: Error | null): () => Fake {
  const exports: ExportDesk = {
    export({ format }) {
      if (failure) return Promise.reject(failure);
      if (failure === null) return Promise.resolve(null);
      const body = new Blob(["n\n1\n"]).stream() as ReadableStream<Uint8Array<ArrayBuffer>>;
      return Promise.resolve({ name: `account_minute.${format}`, bytes: 4, rows: 1, body });
    },
  };
  return () => fakeDeps({ exports });
}

const NAMED = "/v1/pipelines/{name}/backfill";
const ASKED = "/v1/pipelines/account_minute/backfill";
const NOPE = "/v1/pipelines/nope/backfill";
const DELETE: RequestInit = { method: "DELETE" };
const post = (body: string): RequestInit => ({
  method: "POST",
  body,
  headers: { "content-type": "application/json" },
});
const LARGE = post(`"${"x".repeat(2 ** 20)}"`);
const FORM: RequestInit = { method: "POST", body: "a=1" };
const away = new UnavailableError("away");

/** A definition as `tailrace preview` sends it. */
const DEFINITION = {
  kind: "pipeline",
  name: "account_minute",
  from: { topic: "t", options: { schema: { type: "record", name: "R", fields: [] }, eventTime: "at" } },
  groupBy: ["account_id"],
  window: { kind: "tumbling", size: "1 minute" },
  select: { n: { aggregate: "count", field: null } },
  to: [{ kind: "postgres", table: "account_minute" }],
};
const PREVIEW = post(JSON.stringify({ definition: DEFINITION }));
const OTHER = post(JSON.stringify({ definition: DEFINITION, pipeline: "nope" }));
const wrong = new ConfigError({ where: "account_minute.where", problem: "no field statuses" });
const nowhere = new ConfigError({ where: "export account_minute", problem: "its results go to no table" });

/** Method, documented path, status, address, request and what is behind it. */
export const BUILD_CASES: readonly [string, string, number, string, RequestInit?, (() => Fake)?][] = [
  ["post", NAMED, 202, ASKED, post('{"from":"2026-05-01","preview":true}'), fakeBackfills()],
  ["post", NAMED, 400, ASKED, post('{"from":"yesterday"}'), fakeBackfills()],
  ["post", NAMED, 400, ASKED, post("{"), fakeBackfills()],
  ["post", NAMED, 404, NOPE, post("{}"), fakeBackfills()],
  ["post", NAMED, 409, ASKED, post("{}"), fakeBackfills(null)],
  ["post", NAMED, 413, ASKED, LARGE, fakeBackfills()],
  ["post", NAMED, 415, ASKED, FORM, fakeBackfills()],
  ["post", NAMED, 501, ASKED, post("{}"), fakeDeps],
  ["get", NAMED, 200, ASKED, {}, fakeBackfills()],
  [
    "get",
    NAMED,
    200,
    ASKED,
    {},
    fakeBackfills({ ...JOB, state: "failed", progress: null, result: null, problem: { detail: "x", isRefusal: true } }),
  ],
  ["get", NAMED, 404, ASKED, {}, fakeBackfills(null)],
  ["get", NAMED, 404, NOPE, {}, fakeBackfills()],
  ["get", NAMED, 501, ASKED, {}, fakeDeps],
  ["delete", NAMED, 200, ASKED, DELETE, fakeBackfills({ ...JOB, state: "cancelled", result: null })],
  ["delete", NAMED, 404, ASKED, DELETE, fakeBackfills(null)],
  ["delete", NAMED, 501, ASKED, DELETE, fakeDeps],
  ["delete", NAMED, 503, ASKED, DELETE, fakeBackfills(JOB, { cancel: () => Promise.reject(away) })],
  ["post", "/v1/preview", 200, "/v1/preview", PREVIEW, fakePreviews()],
  ["post", "/v1/preview", 400, "/v1/preview", post('{"definition":{}}'), fakePreviews()],
  ["post", "/v1/preview", 400, "/v1/preview", post("{"), fakePreviews()],
  ["post", "/v1/preview", 400, "/v1/preview", PREVIEW, fakePreviews(wrong)],
  ["post", "/v1/preview", 404, "/v1/preview", OTHER, fakePreviews()],
  ["post", "/v1/preview", 413, "/v1/preview", LARGE, fakePreviews()],
  ["post", "/v1/preview", 415, "/v1/preview", FORM, fakePreviews()],
  ["post", "/v1/preview", 501, "/v1/preview", PREVIEW, fakeDeps],
  ["post", "/v1/preview", 503, "/v1/preview", PREVIEW, fakePreviews(away)],
  ["get", "/v1/export", 200, "/v1/export?pipeline=account_minute", {}, fakeExports()],
  ["get", "/v1/export", 200, "/v1/export?table=transactions&format=csv&from=2026-05-01", {}, fakeExports()],
  ["get", "/v1/export", 400, "/v1/export?pipeline=a&table=b", {}, fakeExports()],
  ["get", "/v1/export", 404, "/v1/export?pipeline=nope", {}, fakeExports(null)],
  ["get", "/v1/export", 404, "/v1/export?pipeline=account_minute", {}, fakeExports(nowhere)],
  ["get", "/v1/export", 501, "/v1/export?pipeline=account_minute", {}, fakeDeps],
  ["get", "/v1/export", 503, "/v1/export?pipeline=account_minute", {}, fakeExports(away)],
];
