import { postgresRows, source, topic } from "../pipeline/mod.ts";

/** What the shop sells, out of its table: each product as it is, and again whenever it changes. */
export default source({
  name: "products",
  from: postgresRows({ table: "shop.products", cursor: ["last_updated", "id"], overlap: "1 minute", every: "1s" }),
  to: topic("products", { schema: "product", eventTime: "last_updated" }),
  key: "id",
});
