import { delivery, jsonFiles, topic } from "../pipeline/mod.ts";

/**
 * Every state of every product, as lines of JSON in `data/files/products`: five consumers share the topic's partitions, and each
 * writes to a folder of its own. Which files count is in `_manifest`; see docs/json-files.md.
 */
export default delivery({
  name: "products_files",
  from: topic("products", { schema: "product", eventTime: "last_updated" }),
  key: ["id"],
  to: [jsonFiles("products")],
  consumers: 5,
  batchRows: 50_000,
  batchEvery: "1 minute",
});
