// Written by `deno task schemas` from the .avsc files beside it. Change those, not this.

/** What the compiler knows of the schemas: each field's path and type. Fields that cannot become a column are left out. */
export interface Schemas {
  /** Fields of flight.avsc, by path. */
  readonly flight: {
    readonly date: "timestamp-millis";
    readonly delay: "int";
    readonly distance: "int";
    readonly origin: "string";
    readonly destination: "string";
  };
  /** Fields of transaction.avsc, by path. */
  readonly transaction: {
    readonly transaction_id: "uuid";
    readonly account_id: "string";
    readonly merchant: "string";
    readonly category: "enum";
    readonly status: "string";
    readonly amount: "decimal";
    readonly currency: "string";
    readonly country: "string";
    readonly event_time: "timestamp-millis";
  };
}
