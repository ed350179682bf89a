import { avg, count, lake, max, pipeline, postgres, sum, topic, tumbling } from "../pipeline/mod.ts";

/** Departures of each airport, day by day. Play real ones with `deno task replay`. */
export default pipeline({
  name: "flights",
  from: topic("flights", { schema: "flight", eventTime: "date", allowedLateness: "1 minute", archive: lake() }),
  groupBy: ["origin"],
  window: tumbling("1 day"),
  select: { n: count(), mean_delay: avg("delay"), largest_delay: max("delay"), distance: sum("distance") },
  to: [postgres("flights_daily"), lake("flights_daily")],
});
