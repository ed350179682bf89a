import { avg, count, kafka, max, min, pipeline, postgres, topic, tumbling } from "../pipeline/mod.ts";

/** What each sensor measures, averaged over half a minute. */
export default pipeline({
  name: "sensor_averages",
  from: topic("sensor_readings", { schema: "sensor_reading", eventTime: "measured_at", allowedLateness: "5s" }),
  groupBy: ["sensor_id"],
  window: tumbling("30 seconds"),
  select: {
    n: count(),
    temperature: avg("temperature"),
    humidity: avg("humidity"),
    hottest: max("temperature"),
    battery: min("battery"),
  },
  to: [postgres("sensor_averages"), kafka("sensor-averages")],
});
