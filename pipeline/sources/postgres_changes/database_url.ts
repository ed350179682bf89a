/**
 * Where a PostgreSQL is, and who asks: read from a URL, which is never quoted, as it holds a password.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";

export interface DatabaseAddress {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  /** `offered`: where the server has it. Certificates are checked either way. */
  readonly tls: "off" | "offered" | "required";
  /** A file of certificates to trust besides the usual ones. */
  readonly caFile: string | null;
}

const TLS: Readonly<Record<string, DatabaseAddress["tls"]>> = {
  disable: "off",
  allow: "offered",
  prefer: "offered",
  require: "required",
  "verify-ca": "required",
  "verify-full": "required",
};

/** @param where names the setting in errors, such as `secret shop_database_url` */
export function parseDatabaseUrl(text: string, where: string): DatabaseAddress {
  const fault = (problem: string) => new ConfigError({ where, problem });
  const url = URL.parse(text);
  if (url === null || !["postgres:", "postgresql:"].includes(url.protocol) || url.hostname === "") {
    throw fault("is no address such as postgres://user:password@host:5432/database");
  }
  const user = decoded(url.username);
  const password = decoded(url.password);
  const database = decoded(url.pathname.slice(1));
  if (user === null || password === null || database === null) {
    throw fault("has a % in user, password or database that is no code such as %40: write %25 for the % itself");
  }
  if (user === "") throw fault("names no user");
  const mode = url.searchParams.get("sslmode");
  const tls = mode === null ? "offered" : TLS[mode];
  if (tls === undefined) throw fault(`has a sslmode that is none of ${Object.keys(TLS).join(", ")}`);
  return {
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: Number(url.port || 5432),
    user,
    password,
    database: database || user,
    tls,
    caFile: url.searchParams.get("sslrootcert"),
  };
}

function decoded(part: string): string | null {
  try {
    return decodeURIComponent(part);
  } catch {
    return null;
  }
}
