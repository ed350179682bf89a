import { httpPoll, secret, source, topic } from "../pipeline/mod.ts";

/** Users of the profile API, as they change. Rests until the API's URL is given: TAILRACE_SECRET_PROFILE_API_URL. */
export default source({
  name: "user_profiles",
  from: httpPoll({
    url: secret("profile_api_url"),
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
    since: { path: "updated_at", as: "time", to: { query: "updated_since" }, overlap: "5 minutes" },
    every: "30s",
    // It is our own, and may be in our own network.
    allowPrivate: true,
  }),
  to: topic("user_profiles", { schema: "user_profile", eventTime: "updated_at" }),
  key: "user_id",
});
