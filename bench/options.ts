/** What `tailrace bench` takes. */
export const BENCH_OPTIONS = [
  { flag: "case", placeholder: "NAME", help: "only this one: decode, fold, produce, drain, live or checkpoints" },
  {
    flag: "brokers",
    placeholder: "HOST:PORT",
    help: "produce, drain, live and checkpoints on this Kafka instead of the embedded broker",
  },
  { flag: "database", placeholder: "URL", help: "results to this PostgreSQL instead of an embedded one" },
  { flag: "rate", placeholder: "N", help: "records a second for live, default 280000 (a billion an hour is 277778)" },
  { flag: "seconds", placeholder: "N", help: "how long live runs, default 60" },
];
