import { changeKeys, KEYS_MAX, readKeys } from "../api/security/key_file.ts";
import { newKey, type StoredKey } from "../api/security/keys.ts";
import { type Role, ROLES } from "../api/security/roles.ts";
import { ConfigError } from "../pipeline/errors.ts";
import type { Call, Option } from "./call.ts";
import { readEnvironment, readSetting, SETTINGS } from "./config.ts";
import { Exit } from "./exit.ts";
import { table } from "./table.ts";

/** What `tailrace key` takes. */
export const KEY_OPTIONS: readonly Option[] = [
  { flag: "role", placeholder: ROLES.join("|"), help: "new: what the key may do; see docs/security.md" },
  { flag: "name", placeholder: "TEXT", help: "new: whose key it is, as the audit log shows it" },
  ...[SETTINGS.data, SETTINGS.apiKeys].map(({ flag, placeholder, help, variable }) => ({
    flag,
    placeholder,
    help: `${help} (${variable})`,
  })),
];

/** `tailrace key new|list|remove`: the keys of the API. A running Tailrace sees the change within a second. */
export async function key({ flags, positionals }: Call): Promise<number> {
  const [action, ...rest] = positionals;
  const sources = { flags, environment: readEnvironment(), file: null };
  const path = readSetting(SETTINGS.apiKeys, sources) || `${readSetting(SETTINGS.data, sources)}/api-keys.json`;
  const extra = action === "remove" ? rest.slice(1) : rest;
  if (extra.length > 0) throw new ConfigError({ where: "command line", problem: `"${extra[0]}" is not expected` });
  switch (action) {
    case "new":
      return await create(path, flags);
    case "list":
      return await list(path);
    case "remove":
      return await remove(path, rest[0]);
  }
  const asked = action === undefined ? "say what to do" : `there is no "key ${action}"`;
  throw new ConfigError({ where: "tailrace key", problem: `${asked}: key new, key list, key remove ID` });
}

async function create(path: string, flags: Call["flags"]): Promise<number> {
  const role = ROLES.find((role) => role === flags.role);
  const name = flags.name?.trim();
  const faults = [
    ...role ? [] : [{
      where: "--role",
      problem: `${flags.role === undefined ? "is needed" : `"${flags.role}" is no role`}: ${ROLES.join(", ")}`,
    }],
    ...name === undefined || /^[^\p{C}]{1,100}$/u.test(name)
      ? []
      : [{ where: "--name", problem: "must be 1 to 100 characters that can be printed" }],
  ];
  if (faults.length > 0) throw new ConfigError(faults);
  const { text, stored } = await makeKey(role!, name);
  await changeKeys(path, (keys) => {
    if (keys.some((key) => key.name === stored.name)) {
      throw new ConfigError({
        where: "--name",
        problem: `there is a key named "${stored.name}" already: choose another, or remove that one first`,
      });
    }
    if (keys.length >= KEYS_MAX) throw new ConfigError({ where: path, problem: `holds ${KEYS_MAX} keys already` });
    return [...keys, stored];
  });
  // The key alone on standard output, for scripts.
  console.error(`Key "${stored.name}" (${stored.role}). It is shown this once; ${path} keeps only its hash.`);
  console.log(text);
  return Exit.ok;
}

async function makeKey(role: Role, name: string | undefined): Promise<{ text: string; stored: StoredKey }> {
  const { text, stored } = await newKey({ name: name ?? "", role, nowMs: Date.now() });
  return { text, stored: { ...stored, name: name ?? `${role} ${stored.id.slice(0, 6)}` } };
}

async function list(path: string): Promise<number> {
  const keys = await readKeys(path);
  if (keys === null || keys.length === 0) {
    console.error(
      keys === null
        ? `There are no keys (${path} is not there): whoever is on this machine may do everything.`
        : `${path} holds no key: nobody is let in. Make one with key new, or remove the file.`,
    );
    return Exit.ok;
  }
  const rows = keys.map(({ id, role, createdAt, name }) => [id, role, createdAt.slice(0, 10), name]);
  console.log(table(["id", "role", "made", "name"], rows));
  return Exit.ok;
}

async function remove(path: string, idOrName: string | undefined): Promise<number> {
  if (idOrName === undefined) {
    throw new ConfigError({
      where: "tailrace key remove",
      problem: "name a key by its id or name; key list shows them",
    });
  }
  let left = 0;
  await changeKeys(path, (keys) => {
    const kept = keys.filter(({ id, name }) => id !== idOrName && name !== idOrName);
    if (kept.length === keys.length) {
      throw new ConfigError({ where: "tailrace key remove", problem: `there is no key "${idOrName}" in ${path}` });
    }
    left = kept.length;
    return kept;
  });
  console.error(
    `Removed. ${left === 0 ? "No key is left, so nobody is let in until there is one." : `${left} left.`}`,
  );
  return Exit.ok;
}
