import assert from "node:assert/strict";
import { chromium, type Page } from "playwright-core";
import { createApp } from "../../api/app.ts";
import { createAssets } from "../../api/assets.ts";
import { LOOPBACK_HOSTS } from "../../api/guards.ts";
import { createLiveHub } from "../../api/live.ts";
import { systemClock } from "../../pipeline/clock.ts";
import type { AuditStatus } from "../../pipeline/audit/audit.ts";
import { fakeAuditor, STATUS } from "./fake_audit.ts";
import { ACCOUNT_COLUMNS, fakeDeps, pipelineStatus } from "./fake_deps.ts";

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
if (!executablePath) console.warn(`The dashboard's audit is not looked at: no Chromium at ${PLACES.join(", ")}`);

const AGREES: AuditStatus = {
  ...STATUS,
  state: "agrees",
  agreeing: 1_440,
  differing: 0,
  suspected: 0,
  differences: [],
  notAuditable: [],
};

Deno.test("the dashboard says in green that all windows agree, or lists in red what differs", {
  ignore: !executablePath,
  // The browser is another program, driven through a library with its own sockets and timers.
  sanitizeOps: false,
  sanitizeResources: false,
}, async () => {
  let status = AGREES;
  const pipelines = ["account_minute", "other"].map((name) => ({ name, columns: ACCOUNT_COLUMNS }));
  const fake = fakeDeps({ asset: createAssets(), pipelines, audit: [fakeAuditor({ status: () => status })] });
  fake.statuses = [pipelineStatus(), pipelineStatus({ name: "other" })];
  const hub = createLiveHub({}, systemClock);
  const app = createApp(fake.deps, { hosts: LOOPBACK_HOSTS, hub });
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, app.fetch);
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
  try {
    const page = await browser.newPage();
    const complaints: string[] = [];
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
    const shows = (selector: string, text: string | RegExp) =>
      page.locator(selector).filter({ hasText: text }).first().waitFor({ timeout: 60_000 });
    const pill = async (of: Page) => await of.locator("#audit-state").getAttribute("class");

    await page.goto(`http://127.0.0.1:${server.addr.port}/`);
    await shows("#audit-state", "all 1,440 windows agree");
    assert.equal(await pill(page), "pill good");
    await shows("#audit-words", /1,200 rows compared/);
    assert.equal(await page.locator("#audit-differences").isVisible(), false);

    status = STATUS;
    await shows("#audit-state", "1 window differs");
    assert.equal(await pill(page), "pill bad");
    await shows("#audit-words", /PostgreSQL account_minute: 1 wrong, 2 missing, 0 extra rows/);
    await shows("#audit-words", /3 windows are not audited: the archive begins after their first records/);
    const cells = await page.locator("#audit-differences tbody tr:first-child td").allTextContents();
    assert.deepEqual(cells.slice(1), ["a", "PostgreSQL account_minute", "wrong", "total 12.50", "total 99.00"]);
    await shows("#audit-help", "deno task audit repair account_minute");
    if (Deno.env.get("SCREENSHOT")) {
      await page.locator("#audit-panel").screenshot({ path: Deno.env.get("SCREENSHOT")! });
    }

    await page.locator("#pipeline").selectOption("other");
    await shows("#audit-state", "not audited");
    assert.equal(await page.locator("#audit-differences").isVisible(), false);
    assert.deepEqual(complaints, []);
  } finally {
    await browser.close();
    hub.close();
    await server.shutdown();
  }
});
