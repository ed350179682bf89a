import { cassandra, delivery, topic } from "../pipeline/mod.ts";

/** The averages of sensor_averages, kept in Cassandra: one row for each sensor and window. Rests until TAILRACE_CASSANDRA is set. */
export default delivery({
  name: "sensor_averages_cassandra",
  from: topic("sensor-averages", { schema: "sensor_average", eventTime: "window_start" }),
  key: ["sensor_id", "window_start"],
  to: [cassandra("sensor_averages")],
});
