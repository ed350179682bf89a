import { postgresChanges, source, topics } from "../pipeline/mod.ts";

/** What happens to the shop's products: each insert, update and delete, with the row before and after, to `cdc.shop.products`. */
export default source({
  name: "products_changes",
  from: postgresChanges({ tables: ["shop.products"] }),
  to: topics("cdc"),
});
