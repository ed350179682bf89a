import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { ROLES } from "../security/roles.ts";
import { clientAddress, type Gatekeeper, SESSION_COOKIE } from "../security/security.ts";
import { SESSION_MS } from "../security/sessions.ts";
import { localPath, signInPage } from "../security/sign_in_page.ts";

const whoami = createRoute({
  method: "get",
  path: "/v1/whoami",
  tags: ["Operations"],
  summary: "Whose key this is, and its role",
  responses: {
    200: {
      description: "The caller",
      content: {
        "application/json": {
          schema: z.object({
            name: z.string().openapi({ description: "The key's name; `local` where no keys are set" }),
            role: z.enum(ROLES),
            keys: z.boolean().openapi({ description: "Whether keys are set" }),
          }).openapi("Caller"),
        },
      },
    },
  },
});

/** `/v1/whoami`, `/sign-in` and `/sign-out`. */
export function signInRoutes(app: OpenAPIHono, gate: Gatekeeper): void {
  app.openapi(whoami, async (c) => {
    const { name, role } = c.get("caller");
    return c.json({ name, role: role!, keys: await gate.needsKeys() }, 200, { "cache-control": "no-store" });
  });

  const page = (c: Context, next: string, fault: string | null, status: 200 | 401 | 429 = 200) =>
    c.html(signInPage({ next, fault }), status, { "cache-control": "no-store" });

  app.get("/sign-in", async (c) => {
    const next = localPath(c.req.query("next"));
    if (c.get("caller").role !== null || !await gate.needsKeys()) return c.redirect(next, 303);
    return page(c, next, null);
  });

  app.post("/sign-in", async (c) => {
    const form = new URLSearchParams(await c.req.text());
    const next = localPath(form.get("next") ?? undefined);
    if (!await gate.needsKeys()) return c.redirect(next, 303);
    const { session, caller: { refused } } = await gate.signIn((form.get("key") ?? "").trim(), clientAddress(c));
    if (session !== null) {
      c.header("set-cookie", cookie(c, session, SESSION_MS / 1000));
      return c.redirect(next, 303);
    }
    if (refused?.why === "too many failures") {
      c.header("retry-after", String(refused.waitSeconds));
      return page(c, next, `Too many wrong keys. Try again in ${refused.waitSeconds} s.`, 429);
    }
    return page(c, next, "This key is not known here.", 401);
  });

  app.post("/sign-out", async (c) => {
    await gate.signOut(c);
    c.header("set-cookie", cookie(c, "", 0));
    return c.redirect("/sign-in", 303);
  });
}

/** `Secure` where the browser speaks HTTPS, to this server or to the proxy before it. */
function cookie(c: Context, value: string, seconds: number): string {
  const isHttps = new URL(c.req.url).protocol === "https:" || c.req.header("x-forwarded-proto") === "https";
  const secure = isHttps ? "; Secure" : "";
  return `${SESSION_COOKIE}=${value}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Strict${secure}`;
}
