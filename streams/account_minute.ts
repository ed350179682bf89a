import { avg, count, kafka, lake, max, pipeline, postgres, sum, topic, tumbling } from "../pipeline/mod.ts";

/** What every account spends each minute. */
export default pipeline({
  name: "account_minute",
  from: topic("transactions", {
    schema: "transaction",
    eventTime: "event_time",
    allowedLateness: "5s",
    archive: lake(),
  }),
  where: "status = 'approved' AND amount > 0",
  groupBy: ["account_id"],
  window: tumbling("1 minute"),
  select: { n: count(), total: sum("amount"), mean: avg("amount"), largest: max("amount") },
  to: [postgres("account_minute"), kafka("account-minute"), lake("account_minute")],
});
