import { postgresRows, source, topic } from "../../../../pipeline/mod.ts";

/** Rows that many write, some for seconds before they are seen. No sweep makes up for what was missed. */
export default source({
  name: "items",
  from: postgresRows({
    table: "faults.items",
    cursor: ["last_updated", "id"],
    overlap: "1s",
    every: "200ms",
    sweep: "never",
  }),
  to: topic("items", { schema: "product", eventTime: "last_updated", partitions: 4 }),
  key: "id",
});
