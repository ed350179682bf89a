import assert from "node:assert/strict";
import { type Browser, chromium } from "playwright-core";
import { createApp } from "../../api/app.ts";
import { createAssets } from "../../api/assets.ts";
import { LOOPBACK_HOSTS } from "../../api/guards.ts";
import { bytes, Desk, sale, START } from "../letters/desk.ts";
import { fakeDeps } from "./fake_deps.ts";

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
if (!executablePath) console.warn(`The letters' page is not looked at: no Chromium at ${PLACES.join(", ")}`);

Deno.test("the letters' page in Chromium", { ignore: !executablePath }, async (t) => {
  const desk = new Desk({ topic: "transactions" });
  await desk.setAside({ reason: "<b>window</b> had closed", key: bytes("acc-1") });
  await desk.setAside({
    why: "dead",
    reason: "cut off",
    value: sale({ shop: "b" }).subarray(0, 8),
    timestampMs: START + 1,
  });
  const deps = fakeDeps({ letters: desk.letters, asset: createAssets() }).deps;
  const app = createApp(deps, { hosts: LOOPBACK_HOSTS });
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, app.fetch);
  let browser: Browser | undefined;
  try {
    browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
    const page = await browser.newPage();
    const complaints: string[] = [];
    page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(error.message));
    const text = async (selector: string) => (await page.textContent(selector))?.trim() ?? "";
    const says = (selector: string, expected: string) =>
      page.locator(selector).filter({ hasText: expected }).waitFor({ timeout: 60_000 });
    await page.goto(`http://127.0.0.1:${server.addr.port}/letters`);

    await t.step("shows letters newest first, whatever is in them as text", async () => {
      await says("#list-note", "2 shown, all that match");
      const causes = await page.locator("#letters td.cause").allTextContents();
      assert.deepEqual(causes, ["cut off", "<b>window</b> had closed"]);
    });

    await t.step("filters by what is asked", async () => {
      await page.fill("[name=cause]", "CUT");
      await page.keyboard.press("Enter");
      await says("#list-note", "1 shown");
      await page.fill("[name=cause]", "");
      await page.keyboard.press("Enter");
      await says("#list-note", "2 shown");
    });

    await t.step("tells what redriving all would do, and does only what was shown", async () => {
      await page.click("#dry-run");
      await says("#report", "1 would be redriven, 0 skipped, 1 refused");
      assert.match(await text("#items"), /refused: it would be a dead letter again/);
      assert.equal(desk.log.records("transactions.redriven").length, 0);
      await page.click("#go");
      await says("#report", "1 redriven, 0 skipped, 1 refused");
      await says("#list-note", "1 shown");
      assert.equal(desk.log.records("transactions.redriven").length, 1);
      assert.ok(await page.locator("#go").isDisabled());
    });

    await t.step("shows one letter, decoded as far as it goes, and redrives it mended", async () => {
      await page.click("#letters tbody tr button");
      await says("#fault", "at: the value ends inside it");
      const decoded = JSON.parse(await page.inputValue("#decoded"));
      assert.equal(decoded.shop, "b");
      await page.fill("#decoded", "{");
      await page.click("#detail-dry-run");
      await says("#notice", "The changed value is not JSON");
      await page.fill("#decoded", JSON.stringify({ shop: "b", pieces: 2, at: "2026-11-20T21:00:05.000Z" }));
      await page.click("#detail-dry-run");
      await says("#report", "1 would be redriven");
      // What was looked at is no longer what would be written.
      await page.fill("#decoded", JSON.stringify({ shop: "c", pieces: 2, at: "2026-11-20T21:00:05.000Z" }));
      assert.ok(await page.locator("#redrive").isHidden());
      await page.click("#detail-dry-run");
      await says("#report", "1 would be redriven");
      await page.click("#go");
      await says("#report", "1 redriven");
      await says("#list-note", "None match");
      assert.deepEqual(desk.log.records("transactions").at(-1)!.value, sale({ shop: "c", pieces: 2 }));
    });

    await t.step("says what is wrong, and goes on", async () => {
      desk.log.isAway = true;
      await page.click("#filter button");
      await says("#notice", "Something this needs is away");
      desk.log.isAway = false;
      await page.selectOption("[name=redriven]", "true");
      await page.click("#filter button");
      await says("#list-note", "2 shown");
      assert.ok(await page.locator("#notice").isHidden());
    });
    assert.deepEqual(complaints.filter((line) => !line.includes("503")), []);
  } finally {
    await browser?.close();
    await server.shutdown();
  }
});
