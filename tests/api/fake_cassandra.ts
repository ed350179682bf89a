import { UnavailableError } from "../../pipeline/errors.ts";
import type { CassandraReader } from "../../api/cassandra_reader.ts";
import { ACCOUNT_COLUMNS, accountRows, type Fake, fakeDeps } from "./fake_deps.ts";

function fake(read: CassandraReader["read"]): Fake {
  return fakeDeps({ cassandra: { tables: [{ name: "account_minute", columns: ACCOUNT_COLUMNS }], read } });
}

const served = () => fake(() => Promise.resolve(accountRows(0, 2)));
const away = () => fake(() => Promise.reject(new UnavailableError("away")));

const PATH = "/v1/cassandra/{table}";
const TABLE = "/v1/cassandra/account_minute?key=A-0001";

/** As the cases of openapi_test.ts. */
export const CASSANDRA_CASES: readonly [string, string, number, string, RequestInit, () => Fake][] = [
  ["get", PATH, 200, TABLE, {}, served],
  ["get", PATH, 400, "/v1/cassandra/account_minute", {}, served],
  ["get", PATH, 404, "/v1/cassandra/nope?key=a", {}, served],
  ["get", PATH, 503, TABLE, {}, away],
];
