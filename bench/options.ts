/** What `tailrace bench` takes. */
export const BENCH_OPTIONS = [
  { flag: "case", placeholder: "NAME", help: "only this one: decode, fold, produce, drain, live or latency" },
  {
    flag: "brokers",
    placeholder: "HOST:PORT",
    help: "produce, drain and live on this Kafka instead of the embedded broker",
  },
  { flag: "rate", placeholder: "N", help: "records per second for live and latency, default 277778" },
  { flag: "seconds", placeholder: "N", help: "how long live and latency run, default 60" },
];
