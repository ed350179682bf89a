import { count, kafka, lake, max, pipeline, postgres, sum, topic, tumbling } from "../pipeline/mod.ts";

/** Declined payments by kind of merchant and currency, minute by minute. */
export default pipeline({
  name: "category_declines",
  from: topic("transactions", { schema: "transaction", eventTime: "event_time", allowedLateness: "5s" }),
  where: "status = 'declined'",
  groupBy: ["category", "currency"],
  window: tumbling("1 minute"),
  select: { n: count(), refused: sum("amount"), largest: max("amount") },
  to: [postgres("category_declines"), kafka("category-declines"), lake("category_declines")],
});
