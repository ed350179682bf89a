/**
 * Questions in SQL that are answered as a test says, without any process.
 *
 * @module
 */
import {
  type QueryStore,
  type SavedQuery,
  SqlError,
  type SqlErrorKind,
  type SqlService,
} from "../../../api/sql/service.ts";

const ANSWER = '{"columns":[{"name":"n","type":"INTEGER"}],"rows":[{"n":1}],"truncated":false,"completeness":[],' +
  '"notes":[],"elapsedMs":1}';

/** Answers everything with one row; refuses everything where `failure` is told. */
export function fakeSql(failure?: SqlErrorKind | Error): SqlService {
  const fail = () => failure instanceof Error ? failure : new SqlError(failure!, `it is ${failure}`, 3);
  return {
    relations: () =>
      failure
        ? Promise.reject(fail())
        : Promise.resolve([{ schema: null, name: "ledger", columns: [{ name: "n", type: "INTEGER" }], about: "" }]),
    ask: ({ format }, { id = "an-id-of-ours" }) =>
      failure ? Promise.reject(fail()) : Promise.resolve({
        id,
        format,
        completeness: [],
        notes: [],
        isTruncated: false,
        body: new Response(ANSWER).body!,
      }),
    check: () => failure ? Promise.reject(fail()) : Promise.resolve(),
    cancel: (id) => id === "an-id-of-ours",
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** Saved questions in memory. */
export function memoryQueries(queries: SavedQuery[] = []): QueryStore {
  return {
    list: () => Promise.resolve([...queries]),
    put(query) {
      queries.splice(0, queries.length, ...queries.filter(({ name }) => name !== query.name), query);
      return Promise.resolve(true);
    },
    remove(name) {
      const at = queries.findIndex((query) => query.name === name);
      if (at >= 0) queries.splice(at, 1);
      return Promise.resolve(at >= 0);
    },
  };
}
