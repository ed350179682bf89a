import type { LakeDesk } from "../../api/lake_desk.ts";
import type { LakeJob } from "../../pipeline/runtime/lake_keeper.ts";
import { UnavailableError } from "../../pipeline/errors.ts";
import { deltaField, deltaSchema } from "../../pipeline/sinks/lake/delta/schema.ts";
import { type Fake, fakeDeps } from "./fake_deps.ts";

const JOB: LakeJob = {
  table: "transactions",
  kind: "compact",
  isAutomatic: false,
  state: "waiting",
  startedMs: null,
  endedMs: null,
  problem: null,
  report: null,
};

/** A lake with one table, made up; it is away when a test says so. */
export function fakeLake({ isAway = false } = {}): Fake {
  const detail = {
    name: "transactions",
    flow: null,
    version: 3,
    files: 1,
    bytes: 10,
    rows: 2,
    committedMs: 0,
    schema: deltaSchema([deltaField("n", "long")]),
    partitionColumns: [],
    history: [{
      version: 3,
      committedMs: 0,
      operation: "WRITE",
      parameters: { mode: "Append" },
      filesAdded: 1,
      filesRemoved: 0,
      rowsAdded: 2,
    }],
    jobs: [JOB],
  };
  const told = <T>(value: T) =>
    isAway ? Promise.reject(new UnavailableError("the bucket is away")) : Promise.resolve(value);
  const desk: LakeDesk = {
    url: "s3://lake/tailrace",
    tables: () => told([detail]),
    table: (name) => told(name === "transactions" ? detail : null),
    flows: () => [],
    keeper: {
      compact: () => JOB,
      vacuum: () => ({ ...JOB, kind: "vacuum", report: null }),
      totals: () => ({ compactions: 0, bytesCompacted: 0, vacuums: 0, filesVacuumed: 0, failures: 0 }),
    },
  };
  return fakeDeps({ lake: desk });
}

const TABLE = "/v1/lake/transactions";
const away = () => fakeLake({ isAway: true });
const POST = { method: "POST" };
const json = (body: string): RequestInit => ({ ...POST, body, headers: { "content-type": "application/json" } });

/** Method, documented path, status: how to get that answer. */
export const LAKE_CASES: readonly [string, string, number, string, RequestInit, () => Fake][] = [
  ["get", "/v1/lake", 200, "/v1/lake", {}, fakeLake],
  ["get", "/v1/lake", 404, "/v1/lake", {}, fakeDeps],
  ["get", "/v1/lake", 503, "/v1/lake", {}, away],
  ["get", "/v1/lake/{table}", 200, TABLE, {}, fakeLake],
  ["get", "/v1/lake/{table}", 404, "/v1/lake/nope", {}, fakeLake],
  ["get", "/v1/lake/{table}", 503, TABLE, {}, away],
  ["post", "/v1/lake/{table}/compact", 202, `${TABLE}/compact`, POST, fakeLake],
  ["post", "/v1/lake/{table}/compact", 404, "/v1/lake/nope/compact", POST, fakeLake],
  ["post", "/v1/lake/{table}/compact", 503, `${TABLE}/compact`, POST, away],
  ["post", "/v1/lake/{table}/vacuum", 202, `${TABLE}/vacuum`, json("{}"), fakeLake],
  ["post", "/v1/lake/{table}/vacuum", 400, `${TABLE}/vacuum`, json('{"retentionHours":-1}'), fakeLake],
  ["post", "/v1/lake/{table}/vacuum", 404, "/v1/lake/nope/vacuum", json("{}"), fakeLake],
  ["post", "/v1/lake/{table}/vacuum", 413, `${TABLE}/vacuum`, json(`"${"x".repeat(2 ** 20)}"`), fakeLake],
  ["post", "/v1/lake/{table}/vacuum", 415, `${TABLE}/vacuum`, { ...POST, body: "a=1" }, fakeLake],
  ["post", "/v1/lake/{table}/vacuum", 503, `${TABLE}/vacuum`, json("{}"), away],
];
