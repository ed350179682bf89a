import assert from "node:assert/strict";
import { testPipeline } from "../../pipeline/testing/mod.ts";
import categoryDeclines from "../../streams/category_declines.ts";
import { transaction } from "./transaction.ts";

const declined = (clock: string, category: string, currency: string, amount: string) =>
  transaction(clock, { status: "declined", category, currency, amount });

Deno.test("declined payments are counted by category and currency, others are left out", async () => {
  await using test = await testPipeline(categoryDeclines);
  await test.pipe([
    declined("12:00:01", "fuel", "EUR", "40.00"),
    declined("12:00:02", "fuel", "USD", "30.00"),
    declined("12:00:03", "fuel", "EUR", "50.50"),
    declined("12:00:04", "travel", "EUR", "0.00"),
    transaction("12:00:05", { category: "fuel" }),
  ]);
  await test.closeWindows();
  assert.deepEqual(
    test.results().map(({ category, currency, n, refused, largest }) => [category, currency, n, refused, largest]),
    [
      ["fuel", "EUR", 2, "90.50", "50.50"],
      ["fuel", "USD", 1, "30.00", "30.00"],
      ["travel", "EUR", 1, "0.00", "0.00"],
    ],
  );
  assert.deepEqual(test.ledger(), { consumed: 5, aggregated: 4, filtered: 1, late: 0, dead: 0, duplicate: 0 });
});

Deno.test("approved payments tell the time too: by them a minute of declines closes, and what comes after is late", async () => {
  await using test = await testPipeline(categoryDeclines);
  await test.pipe([declined("12:00:01", "fuel", "EUR", "40.00"), transaction("12:01:05")]);
  assert.deepEqual(test.results().map(({ n, final }) => [n, final]), [[1, true]]);
  await test.pipe([declined("12:00:59", "fuel", "EUR", "9.00"), transaction("12:00:59")]);
  assert.deepEqual([test.late().length, test.ledger().filtered], [1, 2], "a late record that is filtered is filtered");
});

Deno.test("a category that the schema does not know yet counts as other", async () => {
  await using test = await testPipeline(categoryDeclines);
  const text = JSON.stringify(test.plan.schema);
  const newer = JSON.parse(text.replace(/"symbols":\[.*?\]/, `"symbols":["other","fuel","pets"]`));
  await test.pipe([declined("12:00:01", "fuel", "EUR", "1.00"), declined("12:00:02", "pets", "EUR", "2.00")], {
    schema: newer,
  });
  assert.deepEqual(test.panes().map(({ category, refused }) => [category, refused]), [["fuel", "1.00"], [
    "other",
    "2.00",
  ]]);
});
