/**
 * What is known of each user, in Cassandra: the newest record of each user_id, and none once it said that there is none. Asked for
 * by `GET /v1/cassandra/user_profiles?key=..`. Rests until TAILRACE_CASSANDRA names a Cassandra.
 *
 * @module
 */
import { cassandra, delivery, topic } from "../pipeline/mod.ts";

export default delivery({
  name: "user_profiles_cassandra",
  from: topic("user_profiles", { schema: "user_profile", eventTime: "updated_at" }),
  key: ["user_id"],
  to: [cassandra("user_profiles")],
});
