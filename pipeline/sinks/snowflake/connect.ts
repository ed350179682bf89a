import { ConfigError, UnavailableError } from "../../errors.ts";
import { type Secrets } from "../../secrets.ts";
import type { SnowflakeConnection } from "./upload.ts";

/** Not among the dependencies: whoever uploads adds it. A variable, so that nothing looks for it before. */
const LIBRARY = "snowflake-sdk";

/** What is used of the library; it has no types that can be had without it. */
interface Sdk {
  createConnection(options: Readonly<Record<string, unknown>>): SdkConnection;
}

interface SdkConnection {
  connect(done: (error: Error | undefined) => void): void;
  execute(options: {
    readonly sqlText: string;
    readonly complete: (error: SdkError | undefined, statement: unknown, rows?: Record<string, unknown>[]) => void;
  }): void;
  destroy(done: (error: Error | undefined) => void): void;
}

interface SdkError extends Error {
  /** Of a statement that Snowflake refused; network failures have none. */
  readonly sqlState?: string;
}

/**
 * Connects as the secrets `snowflake_account`, `snowflake_user` and `snowflake_password` or `snowflake_private_key` say, with
 * `snowflake_warehouse`, `snowflake_database`, `snowflake_schema` and `snowflake_role` where they are set.
 *
 * @throws ConfigError when the library or a secret is missing, or the account refuses; UnavailableError when it is away
 */
export async function connectSnowflake(secrets: Secrets): Promise<SnowflakeConnection> {
  const sdk = await library();
  const get = (name: string) => secrets.get({ secret: `snowflake_${name}` });
  const find = (name: string) => secrets.find({ secret: `snowflake_${name}` }) ?? undefined;
  const privateKey = find("private_key");
  const connection = sdk.createConnection({
    account: get("account"),
    username: get("user"),
    ...(privateKey ? { authenticator: "SNOWFLAKE_JWT", privateKey } : { password: get("password") }),
    warehouse: find("warehouse"),
    database: find("database"),
    schema: find("schema"),
    role: find("role"),
  });
  await new Promise<void>((resolve, reject) =>
    connection.connect((error) => error ? reject(refusal(error, "to connect")) : resolve())
  );
  return {
    execute: (sqlText) =>
      new Promise((resolve, reject) =>
        connection.execute({
          sqlText,
          complete: (error, _, rows) => error ? reject(refusal(error, sqlText.slice(0, 60))) : resolve(rows ?? []),
        })
      ),
    [Symbol.asyncDispose]: () => new Promise((resolve) => connection.destroy(() => resolve())),
  };
}

async function library(): Promise<Sdk> {
  try {
    const loaded = await import(LIBRARY) as { readonly default?: Sdk } & Sdk;
    return loaded.default ?? loaded;
  } catch (error) {
    throw new ConfigError({
      where: "--upload",
      problem: `needs the package ${LIBRARY}, which is not installed: deno add npm:${LIBRARY} (${
        (error as Error).message
      })`,
    });
  }
}

function refusal(error: SdkError, doing: string): Error {
  const message = `Snowflake refused ${doing}: ${error.message}`;
  return error.sqlState ? new ConfigError({ where: "snowflake", problem: message }) : new UnavailableError(message);
}
