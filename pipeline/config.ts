/** Everything a running Tailrace can be told, after defaults, file, environment and flags are merged and checked. */
export interface Config {
  /** Embedded parts and generator included (`dev`), or only what the addresses name (`run`). */
  readonly mode: "dev" | "run";
  readonly dataDir: string;
  /** `host:port` of each bootstrap broker; empty starts the embedded broker. */
  readonly brokers: readonly string[];
  readonly kafka: {
    readonly ssl: boolean;
    readonly sasl: {
      readonly mechanism: "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512";
      readonly username: string;
      readonly password: string;
    } | null;
  };
  /** Base URL of the schema registry; empty starts the embedded one. */
  readonly registryUrl: string;
  /** postgres:// URL; empty starts the embedded PostgreSQL. */
  readonly databaseUrl: string;
  /** Address the API, and in dev the embedded parts, listen on. Loopback unless told otherwise. */
  readonly host: string;
  readonly ports: {
    readonly api: number;
    readonly broker: number;
    readonly registry: number;
    readonly postgres: number;
  };
  /** Names of the pipelines to run; empty runs all in `streams/`. */
  readonly pipelines: readonly string[];
  /** Threads for reading and folding. */
  readonly workers: number;
  /** Generated transactions per second in dev; Infinity for as fast as it goes, 0 for none. */
  readonly rate: number;
  /** Longest time between two checkpoints of a pipeline. */
  readonly checkpointEveryMs: number;
}
