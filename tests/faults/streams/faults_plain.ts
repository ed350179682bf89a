import { avg, count, kafka, lake, max, pipeline, postgres, sum, topic, tumbling } from "../../../pipeline/mod.ts";

/** By its rules nothing of what the runs send is late, whatever is done to them. */
export default pipeline({
  name: "faults_plain",
  from: topic("faults", {
    schema: "transaction",
    eventTime: "event_time",
    allowedLateness: "1 minute",
    // Silence would close windows by the wall clock, which is not in the log.
    idleAfter: "1 day",
    partitions: 4,
    archive: lake("faults", { flushEvery: "400ms" }),
  }),
  where: "status = 'approved' AND amount > 0",
  groupBy: ["account_id"],
  window: tumbling("10 seconds"),
  select: { n: count(), total: sum("amount"), mean: avg("amount"), largest: max("amount") },
  emit: { every: "200ms" },
  deadLetters: { stopAt: "never" },
  to: [postgres("faults_plain"), kafka("faults-plain"), lake("faults_plain", { flushEvery: "400ms" })],
});
