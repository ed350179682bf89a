import assert from "node:assert/strict";
import { chromium } from "playwright-core";
import { guarded } from "./guarded_app.ts";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const executablePath = [Deno.env.get("CHROMIUM") ?? "", ...PLACES].find((path) => {
  try {
    return path !== "" && Deno.statSync(path).isFile;
  } catch {
    return false;
  }
});
if (!executablePath) {
  console.warn(`The sign-in page is not looked at: no Chromium at ${PLACES.join(", ")} nor in $CHROMIUM`);
}

Deno.test({
  name: "in Chromium the dashboard asks for a key, opens with it, shows whose it is, and asks again once it is removed",
  ignore: !executablePath,
  // The browser is another program, driven through a library with its own sockets and timers.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const { app, keys, stored } = await guarded();
    const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, app.fetch);
    const browser = await chromium.launch({
      executablePath,
      args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
    });
    try {
      const page = await browser.newPage({ viewport: { width: 900, height: 620 } });
      const complaints: string[] = [];
      page.on("pageerror", (error) => complaints.push(String(error)));
      page.on("console", (message) => {
        // A refused sign-in is a 401, which the browser tells as an error.
        if (message.type() === "error" && !message.text().includes("401")) complaints.push(message.text());
      });
      const base = `http://127.0.0.1:${server.addr.port}`;
      await page.goto(`${base}/`);
      assert.equal(new URL(page.url()).pathname, "/sign-in");
      const shots = Deno.env.get("TAILRACE_SCREENSHOTS");
      if (shots) await page.screenshot({ path: `${shots}/sign_in.png` });

      await page.getByLabel("API key").fill("trk_wrong");
      await page.keyboard.press("Enter");
      await page.getByRole("alert").filter({ hasText: "This key is not known here." }).waitFor({ timeout: 60_000 });
      if (shots) await page.screenshot({ path: `${shots}/sign_in_wrong.png` });

      await page.getByLabel("API key").fill(keys.viewer);
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.locator("#session-name").filter({ hasText: "the viewer, viewer" }).waitFor({ timeout: 60_000 });
      await page.locator("#connection").filter({ hasText: "Live" }).waitFor({ timeout: 60_000 });
      assert.equal(await page.evaluate("document.cookie"), "");
      if (shots) await page.screenshot({ path: `${shots}/signed_in.png` });

      await page.getByRole("button", { name: "Sign out" }).click();
      await page.getByLabel("API key").waitFor({ timeout: 60_000 });
      await page.getByLabel("API key").fill(keys.admin);
      await page.keyboard.press("Enter");
      await page.locator("#session-name").filter({ hasText: "the admin, admin" }).waitFor({ timeout: 60_000 });
      stored.length = 0;
      await page.getByLabel("API key").waitFor({ timeout: 60_000 });
      assert.deepEqual(complaints, []);
    } finally {
      await browser.close();
      await server.shutdown();
    }
  },
});
