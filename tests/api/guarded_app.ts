import { createApp } from "../../api/app.ts";
import { createAssets } from "../../api/assets.ts";
import type { AuditEntry, AuditLog } from "../../api/security/audit.ts";
import { type KeyStore, newKey, type StoredKey } from "../../api/security/keys.ts";
import { type Role, ROLES } from "../../api/security/roles.ts";
import { fakeDeps } from "./fake_deps.ts";

/** The application with a key for each role. */
export interface Guarded {
  readonly app: ReturnType<typeof createApp>;
  readonly keys: Record<Role, string>;
  /** What the key store holds; a test may change it. */
  readonly stored: StoredKey[];
  readonly audited: AuditEntry[];
  /** Sends a request with a role's key, or none. */
  ask(role: Role | null, path: string, init?: RequestInit): Promise<Response>;
}

/** Makes it; `audit` replaces the log that `audited` shows. */
export async function guarded(audit?: AuditLog): Promise<Guarded> {
  const made = await Promise.all(ROLES.map((role) => newKey({ name: `the ${role}`, role, nowMs: 0 })));
  const keys = Object.fromEntries(ROLES.map((role, i) => [role, made[i].text])) as Record<Role, string>;
  const stored = made.map((key) => key.stored);
  const store: KeyStore = { keys: () => Promise.resolve(stored) };
  const audited: AuditEntry[] = [];
  audit ??= {
    ready: () => Promise.resolve(),
    append: (entry) => Promise.resolve(void audited.push(entry)),
    read: (limit) => Promise.resolve(audited.toReversed().slice(0, limit)),
  };
  const app = createApp(fakeDeps({ asset: createAssets() }).deps, {
    security: { keys: store, audit, settings: () => [] },
  });
  return {
    app,
    keys,
    stored,
    audited,
    ask: async (role, path, init = {}) => {
      const headers = new Headers(init.headers);
      if (role !== null) headers.set("authorization", `Bearer ${keys[role]}`);
      return await app.request(path, { ...init, headers });
    },
  };
}
