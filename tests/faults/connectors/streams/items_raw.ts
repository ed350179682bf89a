import { delivery, postgresTable, topic } from "../../../../pipeline/mod.ts";

/** Every record of the rows, back in a table. */
export default delivery({
  name: "items_raw",
  from: topic("items", { schema: "product", eventTime: "last_updated", partitions: 4 }),
  to: [postgresTable("faults.items_raw")],
  batchEvery: "200ms",
});
