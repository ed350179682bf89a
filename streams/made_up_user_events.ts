import { madeUp, source, topic } from "../pipeline/mod.ts";

/** Users at the site, made up in dev. Your own producers write to the topic elsewhere. */
export default source({
  name: "made_up_user_events",
  from: madeUp("user_event", { perSecond: 200 }),
  to: topic("user_events", { schema: "user_event", eventTime: "event_time", partitions: 120 }),
  key: "user_id",
});
