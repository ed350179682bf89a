import { eventStream, secret, source, topic } from "../../../../pipeline/mod.ts";

/** A feed whose events have ids. */
export default source({
  name: "readings",
  from: eventStream({ url: secret("feed_url"), silence: "3s", allowPrivate: true }),
  to: topic("readings", { schema: "sensor_reading", eventTime: "measured_at", partitions: 4 }),
  key: "sensor_id",
});
