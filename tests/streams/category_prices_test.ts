import assert from "node:assert/strict";
import { testPipeline } from "../../pipeline/testing/mod.ts";
import categoryPrices from "../../streams/category_prices.ts";

const product = (clock: string, id: number, category: string, price: string) => ({
  id,
  name: `product ${id}`,
  category,
  price,
  last_updated: `2026-01-31T${clock}Z`,
});

Deno.test("the prices that were set in a minute are averaged by category", async () => {
  await using test = await testPipeline(categoryPrices);
  await test.pipe([
    product("12:00:01", 1, "kitchen", "10.00"),
    product("12:00:20", 2, "kitchen", "20.00"),
    product("12:00:40", 1, "kitchen", "12.00"),
    product("12:00:59", 9, "toys", "3.50"),
    product("12:01:00", 9, "toys", "4.00"),
  ]);
  await test.closeWindows();
  assert.deepEqual(
    test.results().map(({ category, changes, mean, lowest, highest }) => [category, changes, mean, lowest, highest]),
    [
      ["kitchen", 3, 14, "10.00", "20.00"],
      ["toys", 1, 3.5, "3.50", "3.50"],
      ["toys", 1, 4, "4.00", "4.00"],
    ],
  );
});
