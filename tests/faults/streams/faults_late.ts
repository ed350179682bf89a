import { avg, count, kafka, lake, max, pipeline, postgres, sum, topic, tumbling } from "../../../pipeline/mod.ts";

/** For records that come late, and twice. */
export default pipeline({
  name: "faults_late",
  from: topic("faults", {
    schema: "transaction",
    eventTime: "event_time",
    allowedLateness: "5 seconds",
    idleAfter: "1 day",
    partitions: 4,
  }),
  where: "status = 'approved' AND amount > 0",
  dedupe: { by: "transaction_id", within: "10 minutes" },
  groupBy: ["account_id"],
  window: tumbling("10 seconds"),
  select: { n: count(), total: sum("amount"), mean: avg("amount"), largest: max("amount") },
  emit: { every: "200ms" },
  deadLetters: { stopAt: "never" },
  to: [postgres("faults_late"), kafka("faults-late"), lake("faults_late", { flushEvery: "400ms" })],
});
