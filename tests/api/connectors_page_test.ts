import assert from "node:assert/strict";
import { type Browser, chromium } from "playwright-core";
import { createApp } from "../../api/app.ts";
import { createAssets } from "../../api/assets.ts";
import { LOOPBACK_HOSTS } from "../../api/guards.ts";
import { newKey } from "../../api/security/keys.ts";
import { UnavailableError } from "../../pipeline/errors.ts";
import { type ConnectorStatus, NO_COUNTS } from "../../pipeline/runtime/connector_status.ts";
import { connectorStatus, REJECTED } from "./fake_connectors.ts";
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
if (!executablePath) {
  console.warn(`The page of sources and deliveries is not looked at: no Chromium at ${PLACES.join(", ")}`);
}

const UNSET = "secret upstream_brokers: is not set: give it as TAILRACE_SECRET_UPSTREAM_BROKERS";

/** A source at work, one that is not configured, one that waits, and a delivery that failed. */
function some(): ConnectorStatus[] {
  return [
    connectorStatus({
      name: "forward_edge",
      from: "topics sensor_readings",
      to: ["the same topics of another cluster"],
      state: "stopped",
      reason: UNSET,
      counts: NO_COUNTS,
      rates: { inPerSecond: 0, outPerSecond: 0 },
      committedAtMs: null,
      lastError: null,
      details: {},
    }),
    connectorStatus({
      committedAtMs: Date.now() - 7_260_000,
      details: { pages: 3, walBehindBytes: 18_234, connected: true },
    }),
    connectorStatus({
      name: "products",
      state: "waiting",
      reason: "PostgreSQL shop:5432 does not answer",
      lagRecords: 7,
    }),
    connectorStatus({
      name: "profiles_cassandra",
      kind: "delivery",
      state: "failed",
      reason: "<b>the table</b> has another key",
      from: "topic user_profiles",
      to: ["cassandra shop.user_profiles"],
    }),
  ];
}

/** The application over connectors that do as they are told; `statuses` may be changed. */
async function served() {
  let statuses = some();
  const told: string[] = [];
  const change = (name: string, changes: Partial<ConnectorStatus>) => {
    statuses = statuses.map((status) => status.name === name ? { ...status, ...changes } : status);
  };
  const viewer = await newKey({ name: "vera", role: "viewer", nowMs: 0 });
  const operator = await newKey({ name: "otto", role: "operator", nowMs: 0 });
  const { deps } = fakeDeps({
    asset: createAssets(),
    connectors: {
      status: () => statuses,
      stop: (name) => {
        told.push(`stop ${name}`);
        if (name === "products") return Promise.reject(new UnavailableError("products is still writing"));
        return Promise.resolve(change(name, { state: "stopped" }));
      },
      start: (name) => Promise.resolve(change(name, { state: "running", reason: null })),
      limit: (name, limitPerSecond) => change(name, { limitPerSecond }),
      rejected: (_, { limit }) => Promise.resolve(REJECTED.slice(0, limit)),
    },
  });
  const keys = () => Promise.resolve([viewer.stored, operator.stored]);
  const audit = { ready: () => Promise.resolve(), append: () => Promise.resolve(), read: () => Promise.resolve([]) };
  const app = createApp(deps, { hosts: LOOPBACK_HOSTS, security: { keys: { keys }, audit, settings: () => [] } });
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, app.fetch);
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    told,
    change,
    clear: () => void (statuses = []),
    keys: { viewer: viewer.text, operator: operator.text },
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

Deno.test("the page of sources and deliveries in Chromium", { ignore: !executablePath }, async (t) => {
  await using api = await served();
  let browser: Browser | undefined;
  try {
    browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
    const page = await browser.newPage({ viewport: { width: 1240, height: 1000 } });
    const signIn = (key: string) => page.setExtraHTTPHeaders({ authorization: `Bearer ${key}` });
    const complaints: string[] = [];
    page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(error.message));
    const says = (selector: string, expected: string | RegExp) =>
      page.locator(selector).filter({ hasText: expected }).first().waitFor({ timeout: 60_000 });
    const row = (name: string) => page.locator(`tbody[data-name="${name}"]`);
    await signIn(api.keys.operator);
    await page.goto(`${api.url}/connectors`);

    await t.step("shows how many are how, and a row of each with where all it read went", async () => {
      await says("#summary", "1 runs, 1 waits, 1 rests, 1 failed");
      const names = await page.locator("#sources button.name").allTextContents();
      assert.deepEqual(names, ["user_profiles", "products", "forward_edge"], "what is not configured comes last");
      const cells = await row("user_profiles").locator("tr").first().locator("td").allTextContents();
      assert.equal(cells[9], "2 h 1 min ago");
      assert.deepEqual([...cells.slice(0, 9), ...cells.slice(10)], [
        "user_profilesGET https://api.example.com/users → topic user_profiles",
        "running",
        "13 /s",
        "12 /s",
        "10",
        "7",
        "2",
        "1",
        "–",
        "none",
        "Stop",
      ]);
      const heads = await page.locator("#sources th").allTextContents();
      assert.deepEqual(heads.slice(4, 8), ["read", "= written", "+ rejected", "+ skipped"]);
    });

    await t.step("says why one waits, failed, or what has to be set for one that rests, as text", async () => {
      assert.equal(await row("forward_edge").locator(".why").textContent(), UNSET);
      assert.equal(await row("products").locator(".why.warn").textContent(), "PostgreSQL shop:5432 does not answer");
      const failed = row("profiles_cassandra").locator(".why.bad");
      assert.equal(await failed.textContent(), "<b>the table</b> has another key");
      assert.equal(await row("user_profiles").locator(".why").count(), 0);
    });

    await t.step("shows one in full, with facts of its own and what it rejected", async () => {
      await page.click("button.name:text('user_profiles')");
      await says("#detail-title", "Source user_profiles");
      await says("#facts", "10 read = 7 written + 2 rejected + 1 skipped");
      await says("#facts", "503");
      const facts = await page.locator("#facts div").allTextContents();
      for (const fact of ["Pages3", "Wal behind18.2 kB", "Connectedyes", "Lagnot known"]) {
        assert.ok(facts.includes(fact), `${fact} is not in ${facts}`);
      }
      await says("#rejected", "GET /users page 3 item 12");
      const cells = await page.locator("#rejected tbody tr").first().locator("td").allTextContents();
      assert.deepEqual([cells[0], cells[2], cells[4]], ["2023-11-14 22:13:21", "email is missing", "29 B"]);
      await page.locator("#rejected summary").first().click();
      assert.equal(
        await page.locator("#rejected pre").first().textContent(),
        '{\n  "id": 12,\n  "name": "<b>Ada</b>"\n}',
      );
      assert.equal(await page.locator("#rejected pre").last().textContent(), "ff 00 ... of 100,000 bytes");
    });

    await t.step("an open value stays open while figures change", async () => {
      api.change("user_profiles", { counts: { ...NO_COUNTS, read: 11, written: 8, rejected: 2, skipped: 1 } });
      await says("#facts", "11 read = 8 written");
      assert.ok(await page.locator("#rejected details").first().evaluate((element) => element.hasAttribute("open")));
    });

    await t.step("stops and starts one, and sets its limit", async () => {
      await row("user_profiles").locator("button.turn").click();
      await says('tbody[data-name="user_profiles"] .pill', "at rest");
      assert.deepEqual(api.told, ["stop user_profiles"]);
      await page.click("#detail-turn");
      await says("#detail-state", "running");
      await page.fill("#limit", "250.5");
      await page.click("#limit-form button[type=submit]");
      await says('tbody[data-name="user_profiles"]', "251 /s");
      await page.fill("#limit", "fast");
      await page.click("#limit-form button[type=submit]");
      await says("#notice", "Give a number above 0");
      await page.click("#no-limit");
      await says('tbody[data-name="user_profiles"]', "none");
      assert.ok(await page.locator("#notice").isHidden());
    });

    await t.step("one that failed, and may be trying again, can be started and stopped", async () => {
      await page.click("button.name:text('profiles_cassandra')");
      await says("#detail-turn", "Start");
      await page.click("#detail-stop");
      await says("#detail-state", "at rest");
      assert.ok(await page.locator("#detail-stop").isHidden());
      api.change("profiles_cassandra", { state: "failed" });
    });

    await t.step("shows what the API refuses, and leaves it there", async () => {
      await row("products").locator("button.turn").click();
      await says("#notice", "products is still writing");
      await page.waitForTimeout(2_500);
      assert.ok(await page.locator("#notice").isVisible(), "reading the figures again took it away");
    });

    await t.step("a viewer sees all, and is told who may stop and slow", async () => {
      await signIn(api.keys.viewer);
      await page.goto(`${api.url}/connectors#products`);
      await page.reload();
      await says("#detail-title", "Source products");
      await says("#facts", "7 records");
      await page.click("#detail-turn");
      await says("#notice", "This key's role does not allow it");
      await page.fill("#limit", "5");
      await page.click("#limit-form button[type=submit]");
      await says("#notice", /operator/);
    });

    await t.step("the dashboard has a line about them", async () => {
      await page.goto(api.url);
      await says("#connectors", "Sources and deliveries: 1 runs, 1 waits, 1 rests, 1 failed");
      assert.equal(await page.locator("#connectors .bad").textContent(), "1 failed");
      await page.click("#connectors a");
      await says("#summary", "1 runs");
    });

    await t.step("fits a telephone: only tables scroll sideways", async () => {
      await page.setViewportSize({ width: 360, height: 800 });
      await page.click("button.name:text('user_profiles')");
      await says("#rejected", "email is missing");
      for (const path of ["/connectors", "/"]) {
        const width = await page.evaluate("document.documentElement.scrollWidth");
        assert.ok(width as number <= 360, `${path} is ${width} wide`);
        if (path === "/connectors") await page.goto(api.url);
      }
    });

    await t.step("says how one is made where there is none", async () => {
      api.clear();
      await page.goto(`${api.url}/connectors`);
      await says("#empty", "None is defined yet");
      assert.ok(await page.locator("#source-panel").isHidden() && await page.locator("#detail").isHidden());
      await page.goto(api.url);
      await says("#pipeline", "account_minute");
      assert.ok(await page.locator("#connectors").isHidden());
    });
    assert.deepEqual(complaints.filter((line) => !/40[03]|503/.test(line)), []);
  } finally {
    await browser?.close();
  }
});
