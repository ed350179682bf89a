import assert from "node:assert/strict";
import { type Browser, chromium, type Page } from "playwright-core";
import { createApp } from "../../api/app.ts";
import { createAssets } from "../../api/assets.ts";
import { LOOPBACK_HOSTS } from "../../api/guards.ts";
import { createLiveHub } from "../../api/live.ts";
import { systemClock } from "../../pipeline/clock.ts";
import { clock } from "../../api/dashboard/format.js";
import { ACCOUNT_COLUMNS, accountRows, type Fake, fakeDeps, pipelineStatus } from "./fake_deps.ts";

const MINUTE = 60_000;
const START = Date.parse("2026-11-20T21:00:00Z");
const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

const executablePath = [Deno.env.get("CHROMIUM") ?? "", ...PLACES].find((path) => {
  try {
    return path !== "" && Deno.statSync(path).isFile;
  } catch {
    return false;
  }
});
if (!executablePath) {
  console.warn(`The dashboard is not looked at: no Chromium at ${PLACES.join(", ")} nor in $CHROMIUM`);
}

interface Served {
  readonly port: number;
  stop(): Promise<void>;
}

function serve(fake: Fake, port = 0): Served {
  const hub = createLiveHub({}, systemClock);
  const app = createApp(fake.deps, { hosts: LOOPBACK_HOSTS, hub });
  const server = Deno.serve({ hostname: "127.0.0.1", port, onListen: () => {} }, app.fetch);
  return {
    port: server.addr.port,
    async stop() {
      hub.close();
      await server.shutdown();
    },
  };
}

function running(minutes: number): Fake {
  const pipelines = ["account_minute", "merchant_hour"].map((name) => ({ name, columns: ACCOUNT_COLUMNS }));
  const fake = fakeDeps({ asset: createAssets(), pipelines });
  for (let i = 0; i < minutes; i++) fake.publish("account_minute", accountRows(START + i * MINUTE, 3));
  fake.statuses = [
    pipelineStatus({
      rates: { inPerSecond: 3021, outPerSecond: 12 },
      buckets: { consumed: 1000, aggregated: 950, filtered: 40, late: 8, dead: 2, duplicate: 0 },
      partitions: [
        { partition: 0, position: 700, end: 712, lagRecords: 12, lagSeconds: 0.5, watermarkMs: START, idle: false },
        { partition: 1, position: 300, end: 300, lagRecords: 0, lagSeconds: 0, watermarkMs: null, idle: true },
      ],
      lastError: { atMs: START, message: "<b>broker</b> away" },
    }),
    pipelineStatus({ name: "merchant_hour", state: "waiting", reason: "PostgreSQL does not answer" }),
  ];
  return fake;
}

/** A page that notes everything it complains about. */
async function open(browser: Browser, url: string): Promise<{ page: Page; complaints: string[] }> {
  const page = await browser.newPage();
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith("data:")) complaints.push(`asks ${request.url()}`);
  });
  await page.goto(url);
  return { page, complaints };
}

function shows(page: Page, selector: string, text: string | RegExp): Promise<unknown> {
  return page.locator(selector).filter({ hasText: text }).first().waitFor({ timeout: 60_000 });
}

const cells = (page: Page, table: string) => page.locator(`${table} tbody tr:first-child td`).allTextContents();

Deno.test({
  name: "the dashboard in Chromium",
  ignore: !executablePath,
  // The browser is another program, driven through a library with its own sockets and timers.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    const browser = await chromium.launch({
      executablePath,
      args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
    });
    try {
      await t.step(
        "shows status, stored windows, ledger, partitions and the last error without a complaint",
        async () => {
          const fake = running(5);
          const served = serve(fake);
          const { page, complaints } = await open(browser, `http://127.0.0.1:${served.port}/`);
          await shows(page, "#connection", "Live");
          await shows(page, "#tiles", "3,021 /s");
          await shows(page, "#state", "running");
          await shows(page, "#rows tbody tr", "A-0002");
          const newest = clock(new Date(START + 4 * MINUTE).toISOString());
          assert.deepEqual(await cells(page, "#rows"), ["A-0002", newest, "5", "100.50", "22.00", "5", "final"]);
          assert.equal(await page.locator("#rows tbody tr").count(), 12);
          const watermark = clock(new Date(START).toISOString());
          assert.deepEqual(await cells(page, "#partitions"), ["0", "700", "712", "12", "0.5 s", watermark, ""]);
          await shows(page, "#ledger", "1,000 records read, every one accounted for; 0 since the last commit.");
          await shows(page, "#error", "<b>broker</b> away");
          assert.equal(await page.locator(".chart canvas").count(), 3);
          assert.deepEqual(complaints, []);
          await page.close();
          await served.stop();
        },
      );

      await t.step("shows rows that arrive over SSE, and a later revision in place of an earlier one", async () => {
        const fake = running(1);
        const served = serve(fake);
        const { page, complaints } = await open(browser, `http://127.0.0.1:${served.port}/`);
        await shows(page, "#rows tbody tr", "A-0000");
        fake.publish("account_minute", accountRows(START + 7 * MINUTE, 1, { n: 41, final: false }));
        await shows(page, "#rows tbody tr", /21:07:00.*41.*open/);
        fake.publish("account_minute", accountRows(START + 7 * MINUTE, 1, { n: 57 }));
        await shows(page, "#rows tbody tr", /21:07:00.*57.*final/);
        assert.equal(await page.locator("#rows tbody tr", { hasText: "21:07:00" }).count(), 1);
        assert.deepEqual(complaints, []);
        await page.close();
        await served.stop();
      });

      await t.step("survives a server restart: says it is gone, comes back, and shows what it missed", async () => {
        const fake = running(2);
        let served = serve(fake);
        const { port } = served;
        const { page } = await open(browser, `http://127.0.0.1:${port}/`);
        await shows(page, "#rows tbody tr", "21:01:00");
        await served.stop();
        await shows(page, "#connection", "Reconnecting");
        await shows(page, "#notice", /does not answer/);
        fake.publish("account_minute", accountRows(START + 8 * MINUTE, 1));
        served = serve(fake, port);
        await shows(page, "#connection", "Live");
        await shows(page, "#rows tbody tr", "21:08:00");
        assert.equal(await page.locator("#notice").isVisible(), false);
        fake.publish("account_minute", accountRows(START + 9 * MINUTE, 1));
        await shows(page, "#rows tbody tr", "21:09:00");
        await page.close();
        await served.stop();
      });

      await t.step("chooses pipeline and column by keyboard, and keeps the pipeline over a reload", async () => {
        const served = serve(running(2));
        const { page, complaints } = await open(browser, `http://127.0.0.1:${served.port}/`);
        await shows(page, "#rows tbody tr", "A-0000");
        await page.locator("#column").focus();
        await page.keyboard.press("ArrowDown");
        assert.equal(await page.locator("#reason").isVisible(), false);
        await shows(page, "#windows-note", /total of one window, summed over all keys/);
        await page.locator("#pipeline").focus();
        await page.keyboard.press("ArrowDown");
        await shows(page, "#state", "waiting");
        await shows(
          page,
          "#reason.warn",
          /^This pipeline is waiting: PostgreSQL does not answer\nIt goes on by itself/,
        );
        await page.reload();
        await shows(page, "#state", "waiting");
        assert.deepEqual(complaints, []);
        await page.close();
        await served.stop();
      });

      await t.step("says in plain words that no window has closed yet", async () => {
        const served = serve(fakeDeps({ asset: createAssets() }));
        const { page, complaints } = await open(browser, `http://127.0.0.1:${served.port}/`);
        await shows(page, "#windows-note", "No window has closed yet");
        await shows(page, "#partitions", "No partition is assigned yet.");
        await shows(page, "#error", "None since the start.");
        assert.deepEqual(complaints, []);
        await page.close();
        await served.stop();
      });

      await t.step("fits a narrow screen in the dark", async () => {
        const fake = running(30);
        fake.publish("account_minute", accountRows(START + 30 * MINUTE, 1, { n: 1000 }));
        const served = serve(fake);
        const page = await browser.newPage({ viewport: { width: 360, height: 740 }, colorScheme: "dark" });
        await page.goto(`http://127.0.0.1:${served.port}/`);
        await shows(page, "#rows tbody tr", "A-0000");
        assert.equal(await page.evaluate("document.documentElement.scrollWidth"), 360);
        await shows(page, "#rows tbody tr", "20,000.50");
        await page.close();
        await served.stop();
      });
    } finally {
      await browser.close();
    }
  },
});
