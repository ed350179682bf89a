import { madeUp, source, topic } from "../pipeline/mod.ts";

/** Sensors of four sites, made up in dev. */
export default source({
  name: "made_up_sensor_readings",
  from: madeUp("sensor_reading", { perSecond: 60 }),
  to: topic("sensor_readings", { schema: "sensor_reading", eventTime: "measured_at" }),
  key: "sensor_id",
});
