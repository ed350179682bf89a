import { delivery, jsonFiles, topic } from "../../../../pipeline/mod.ts";

/** The lines again, by three consumers. */
export default delivery({
  name: "payments_files",
  from: topic("payments", { schema: "transaction", eventTime: "event_time", partitions: 4 }),
  to: [jsonFiles("payments")],
  consumers: 3,
  batchRows: 500,
  batchEvery: "300ms",
});
