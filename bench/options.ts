/** What `tailrace bench` takes. */
export const BENCH_OPTIONS = [
  {
    flag: "case",
    placeholder: "NAME",
    help: "only this one, such as drain or lake-write; a name that is none lists all",
  },
  {
    flag: "brokers",
    placeholder: "HOST:PORT",
    help: "the cases that need Kafka on this Kafka instead of the embedded broker",
  },
  { flag: "database", placeholder: "URL", help: "results to this PostgreSQL instead of an embedded one" },
  {
    flag: "rate",
    placeholder: "N",
    help: "records a second for live, archive and lake-query, default 280000 (a billion an hour is 277778)",
  },
  { flag: "seconds", placeholder: "N", help: "how long live, archive and lake-query run, default 60" },
  { flag: "rows", placeholder: "N", help: "rows of lake-write, default 5000000, and of lake-query, default 50000000" },
  { flag: "python", placeholder: "PROGRAM", help: "a Python with deltalake, pyarrow and fastavro for lake-write" },
  { flag: "spark", placeholder: "FOLDER", help: "Spark's jars with Delta's, for lake-write" },
  { flag: "cassandra", placeholder: "HOST:PORT", help: "a Cassandra to write to, for cassandra" },
  { flag: "java-driver", placeholder: "FOLDER", help: "the Java driver's jars, to compare with, for cassandra" },
  { flag: "spark-connector", placeholder: "FOLDER", help: "Spark's and its connector's jars, likewise" },
];
