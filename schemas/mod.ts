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
  /** Fields of product.avsc, by path. */
  readonly product: {
    readonly id: "int";
    readonly name: "string";
    readonly category: "string";
    readonly price: "decimal";
    readonly last_updated: "timestamp-millis";
  };
  /** Fields of sensor_average.avsc, by path. */
  readonly sensor_average: {
    readonly sensor_id: "string";
    readonly window_start: "timestamp-millis";
    readonly window_end: "timestamp-millis";
    readonly n: "long";
    readonly temperature: "double";
    readonly humidity: "double";
    readonly hottest: "double";
    readonly battery: "int";
    readonly revision: "long";
    readonly final: "boolean";
  };
  /** Fields of sensor_reading.avsc, by path. */
  readonly sensor_reading: {
    readonly sensor_id: "string";
    readonly site: "string";
    readonly temperature: "double";
    readonly humidity: "double";
    readonly battery: "int";
    readonly measured_at: "timestamp-millis";
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
  /** Fields of user_event.avsc, by path. */
  readonly user_event: {
    readonly event_id: "uuid";
    readonly user_id: "string";
    readonly session_id: "string";
    readonly event_type: "string";
    readonly page: "string";
    readonly country: "string";
    readonly device: "enum";
    readonly duration_ms: "int";
    readonly event_time: "timestamp-millis";
  };
  /** Fields of user_profile.avsc, by path. */
  readonly user_profile: {
    readonly user_id: "string";
    readonly name: "string";
    readonly email: "string";
    readonly country: "string";
    readonly tier: "string";
    readonly updated_at: "timestamp-millis";
  };
}
