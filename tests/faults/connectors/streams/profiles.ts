import { httpPoll, secret, source, topic } from "../../../../pipeline/mod.ts";

/** Users as they are, out of pages that shift while they are read. */
export default source({
  name: "profiles",
  from: httpPoll({
    url: secret("users_url"),
    records: "users",
    map: {
      user_id: "id",
      name: "name",
      email: "contact.email",
      country: "country",
      tier: "tier",
      updated_at: "updated_at",
    },
    paging: { by: "link" },
    since: { path: "updated_at", as: "time", to: { query: "updated_since" }, overlap: "1 minute" },
    every: "1s",
    timeout: "2s",
    allowPrivate: true,
  }),
  to: topic("profiles", { schema: "user_profile", eventTime: "updated_at", partitions: 4 }),
  key: "user_id",
});
