import { files, source, topic } from "../../../../pipeline/mod.ts";

/** Lines of files that are renamed into a folder. */
export default source({
  name: "payments",
  from: files({ path: `${Deno.env.get("TAILRACE_INCOMING")}/*`, every: "200ms", stableFor: "200ms" }),
  to: topic("payments", { schema: "transaction", eventTime: "event_time", partitions: 4 }),
  key: "transaction_id",
});
