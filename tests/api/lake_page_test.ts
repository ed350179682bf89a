import assert from "node:assert/strict";
import { type Browser, chromium } from "playwright-core";
import { createApp } from "../../api/app.ts";
import { createAssets } from "../../api/assets.ts";
import { LOOPBACK_HOSTS } from "../../api/guards.ts";
import { fakeDeps } from "./fake_deps.ts";
import { lakeWorld } from "./lake_world.ts";

const PLACES = [
  Deno.env.get("CHROMIUM") ?? "",
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
];
const executablePath = PLACES.find((path) => {
  try {
    return path !== "" && Deno.statSync(path).isFile;
  } catch {
    return false;
  }
});
if (!executablePath) console.warn(`The lake's page is not looked at: no Chromium at ${PLACES.join(", ")}`);

const ANSWER = {
  columns: [{ name: "account_id", type: "VARCHAR" }, { name: "total", type: "DECIMAL(38,2)" }, {
    name: "merchant",
    type: "STRUCT(country VARCHAR)",
  }],
  rows: [
    { account_id: "<b>A-1</b>", total: "62.50", merchant: { country: "NL" } },
    { account_id: null, total: "0.00", merchant: null },
  ],
  truncated: true,
  completeness: [{ topic: "transactions", offsets: { "0": 12_345, "1": 7 }, watermark: "2020-11-20T21:04:00.000Z" }],
  notes: ["dead_letters has the newest 10000 of them"],
};

Deno.test("the lake's page in Chromium", { ignore: !executablePath }, async (t) => {
  await using world = await lakeWorld();
  for (let i = 0; i < 3; i++) await world.write();
  const app = createApp(fakeDeps({ lake: world.desk, asset: createAssets() }).deps, { hosts: LOOPBACK_HOSTS });
  const asked: unknown[] = [];
  const never = Promise.withResolvers<Response>();
  /** Answers questions in SQL as a test wants them answered; all else is the application. */
  const answer = async (request: Request): Promise<Response> => {
    if (new URL(request.url).pathname !== "/v1/sql") return await app.fetch(request);
    const body = await request.json();
    asked.push(body);
    if (body.sql.includes("pg_sleep")) return await never.promise;
    if (!body.sql.includes("nope")) return Response.json(ANSWER);
    return Response.json({
      title: "The question cannot be answered",
      detail: "there is no lake.nope; there are: lake.transactions",
    }, { status: 400 });
  };
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, answer);
  let browser: Browser | undefined;
  try {
    browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
    const page = await browser.newPage({ viewport: { width: 1240, height: 1000 } });
    const complaints: string[] = [];
    page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(error.message));
    const says = (selector: string, expected: string) =>
      page.locator(selector).filter({ hasText: expected }).waitFor({ timeout: 60_000 });
    await page.goto(`http://127.0.0.1:${server.addr.port}/lake`);

    await t.step("shows the tables, with what waits for them", async () => {
      await says("#tables", "archive of transactions");
      const cells = await page.locator("#tables tbody tr").nth(1).locator("td").allTextContents();
      assert.deepEqual([...cells.slice(0, 7), cells[8]], [
        "transactions",
        "archive of transactions",
        "running",
        "30",
        "12",
        "4",
        "3",
        "3",
      ]);
      const first = await page.locator("#tables tbody tr").nth(0).locator("td").allTextContents();
      assert.deepEqual(first.slice(0, 5), ["account_minute", "results of account_minute", "running", "–", "7"]);
    });

    await t.step("begins with a question, and offers what there is", async () => {
      assert.equal(await page.inputValue("#sql"), "SELECT * FROM lake.transactions LIMIT 20");
      const names = await page.locator("#examples option").allTextContents();
      assert.deepEqual(names.slice(1), [
        "lake.transactions",
        "topics.transactions",
        "live.account_minute",
        "results.account_minute",
        "ledger",
        "dead_letters",
      ]);
      await page.selectOption("#examples", "live.account_minute");
      assert.equal(await page.inputValue("#sql"), "SELECT * FROM live.account_minute LIMIT 20");
    });

    await t.step("shows an answer, whatever is in it as text, and up to where it is complete", async () => {
      await page.focus("#sql");
      await page.keyboard.press("Control+Enter");
      await says("#answer-note", "The first 2 rows, in");
      assert.deepEqual(asked, [{ sql: "SELECT * FROM live.account_minute LIMIT 20", limit: 500 }]);
      const rows = await page.locator("#answer tbody tr").all();
      assert.deepEqual(await rows[0].locator("td").allTextContents(), ["<b>A-1</b>", "62.50", '{"country":"NL"}']);
      assert.deepEqual(await rows[1].locator("td.null").allTextContents(), ["null", "null"]);
      const complete = await page.locator("#complete li").allTextContents();
      assert.deepEqual(complete, [
        "Complete for transactions up to offset 0: 12,345, 1: 7, and for windows that end by 2020-11-20 21:04:00.",
        "dead_letters has the newest 10000 of them",
      ]);
    });

    await t.step("shows why a question is refused, and goes on", async () => {
      await page.fill("#sql", "SELECT * FROM lake.nope");
      await page.click("#run");
      await says("#fault", "The question cannot be answered. there is no lake.nope; there are: lake.transactions");
      assert.ok(await page.locator("#answer").isHidden());
      await page.fill("#sql", "SELECT pg_sleep(100)");
      await page.click("#run");
      await page.click("#cancel");
      await says("#fault", "Cancelled.");
      await page.fill("#sql", "SELECT 1");
      await page.click("#run");
      await says("#answer-note", "The first 2 rows");
      assert.ok(await page.locator("#fault").isHidden());
    });

    await t.step("shows one table, and compacts it", async () => {
      await page.click("#tables button[data-table=transactions]");
      await says("#detail-note", "Version 3: 30 rows in 3 files");
      await says("#columns", "decimal(12,2)");
      await says("#history", "create table");
      await page.click("#compact");
      await says("#detail-note", "3 files became 1");
    });

    await t.step("fits a telephone: only tables scroll sideways", async () => {
      await page.setViewportSize({ width: 360, height: 800 });
      const width = await page.evaluate("document.documentElement.scrollWidth");
      assert.ok(width as number <= 360, `${width} wide`);
    });

    const shots = Deno.env.get("TAILRACE_SCREENSHOTS");
    if (shots) {
      await page.screenshot({ path: `${shots}/lake_phone.png`, fullPage: true });
      await page.setViewportSize({ width: 1240, height: 1000 });
      await page.screenshot({ path: `${shots}/lake.png`, fullPage: true });
    }
    assert.deepEqual(complaints.filter((line) => !line.includes("400")), []);
  } finally {
    never.resolve(new Response("late"));
    await browser?.close();
    await server.shutdown();
  }
});
