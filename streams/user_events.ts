import { avg, count, kafka, pipeline, postgres, topic, tumbling } from "../pipeline/mod.ts";

/** What users do, by country and kind of event, every ten seconds. */
export default pipeline({
  name: "user_events",
  from: topic("user_events", { schema: "user_event", eventTime: "event_time", allowedLateness: "5s", partitions: 120 }),
  groupBy: ["country", "event_type"],
  window: tumbling("10 seconds"),
  select: { n: count(), mean_duration: avg("duration_ms") },
  to: [postgres("user_events"), kafka("user-event-counts")],
});
