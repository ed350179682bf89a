import { httpPoll, secret, source, topic } from "../../../../pipeline/mod.ts";

/** Every change of every user, by a cursor that is kept. */
export default source({
  name: "profile_events",
  from: httpPoll({
    url: secret("events_url"),
    records: "events",
    map: {
      user_id: "id",
      name: "name",
      email: "contact.email",
      country: "country",
      tier: "tier",
      updated_at: "updated_at",
    },
    paging: { by: "cursor", path: "next", to: { query: "after" }, keep: true, more: "more" },
    every: "1s",
    timeout: "2s",
    allowPrivate: true,
  }),
  to: topic("profile_events", { schema: "user_profile", eventTime: "updated_at", partitions: 4 }),
  key: "user_id",
});
