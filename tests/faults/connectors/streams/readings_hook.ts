import { delivery, secret, topic, webhook } from "../../../../pipeline/mod.ts";

/** What came over the feed, posted on. */
export default delivery({
  name: "readings_hook",
  from: topic("readings", { schema: "sensor_reading", eventTime: "measured_at", partitions: 4 }),
  to: [webhook({ url: secret("hook_url"), batch: 20, timeoutMs: 1_000, allowPrivate: true })],
  batchEvery: "200ms",
});
