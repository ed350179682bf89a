import { ConfigError, UnavailableError } from "../../errors.ts";

/** What a server says of a failure: its fields by their letter. */
export class PgError extends Error {
  override readonly name = "PgError";
  /** SQLSTATE. */
  readonly code: string;
  readonly hint: string;

  /**
   * @param body of an ErrorResponse: `field letter | text, zero-ended`, again and again, and a zero
   */
  constructor(body: Uint8Array) {
    const fields = new Map<string, string>();
    for (const part of new TextDecoder().decode(body).split("\0")) fields.set(part.slice(0, 1), part.slice(1));
    super([fields.get("M"), fields.get("D")].filter(Boolean).join("; "));
    this.code = fields.get("C") ?? "";
    this.hint = fields.get("H") ?? "";
  }
}

/** What a person has to change: by SQLSTATE, with what to do where the server does not say. */
const TO_CHANGE: Readonly<Record<string, string>> = {
  "28000": "let this user in, in pg_hba.conf, and give it REPLICATION: ALTER ROLE .. REPLICATION LOGIN",
  "28P01": "check user and password",
  "3D000": "check the database's name",
  "42501": "the user needs REPLICATION, SELECT on the tables, and to own them or find the publication made: " +
    "ALTER ROLE .. REPLICATION; GRANT SELECT ON ..; CREATE PUBLICATION .. FOR TABLE .. by their owner",
  "42704": "it was dropped, or made after what is to be read",
  "53400": "raise max_replication_slots, or drop slots that nobody reads: SELECT * FROM pg_replication_slots",
  "55000": "see the server's own words",
  "0A000": "see the server's own words",
  "42P01": "a table is not there (any more)",
  "42703": "a column is not there (any more)",
  "42601": "see the server's own words",
};

/** A failure as the pipeline has it: to be mended by a person, or an outage that ends by itself. */
export function asFailure(error: unknown, where: string): unknown {
  if (!(error instanceof PgError)) return error;
  const what = error.hint ? `${error.message} (${error.hint})` : error.message;
  const advice = TO_CHANGE[error.code];
  if (advice !== undefined) return new ConfigError({ where, problem: `${what}: ${advice}` });
  return new UnavailableError(`${where}: ${what}`, { cause: error });
}
