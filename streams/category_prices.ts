import { avg, count, lake, max, min, pipeline, postgres, topic, tumbling } from "../pipeline/mod.ts";

/** What prices were set in each category, minute by minute. */
export default pipeline({
  name: "category_prices",
  from: topic("products", { schema: "product", eventTime: "last_updated", allowedLateness: "10s", archive: lake() }),
  groupBy: ["category"],
  window: tumbling("1 minute"),
  select: { changes: count(), mean: avg("price"), lowest: min("price"), highest: max("price") },
  to: [postgres("category_prices"), lake("category_prices")],
});
