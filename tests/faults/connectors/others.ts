/**
 * The other sides of a Tailrace with many sources and deliveries: an API, a table that many write, a folder of files, a feed, and
 * somebody who is posted to. Each remembers what it had, which is what has to come of it.
 *
 * @module
 */
import { gzipSync } from "node:zlib";
import type postgres from "postgres";
import { postgresClient } from "../../../pipeline/postgres_client.ts";
import { sleep } from "../../e2e/harness.ts";
import { type Fate, Proxy, randomFrom } from "../../log/proxy.ts";
import { ProfileApi } from "../../servers/profile_api.ts";
import { Receiver } from "../../sinks/webhook/receiver.ts";
import { FeedServer } from "./feed_server.ts";

const USERS = 60;
const ITEMS = 200;
/** Connections that write the table at the same time. */
const WRITERS = 4;
/** Transactions stay open for up to so long, some of them much longer than the source's overlap. */
const HELD_MS_MAX = 2_500;
const LINES_MAX = 200;
const ASKED_MAX = 100;
const ASKED_EVERY_MS = 200;
/** The receiver refuses readings with this battery. */
export const REFUSED_BATTERY = 13;
/** Longer than the webhook waits. */
const TOO_LONG_MS = 1_500;

export class Others implements AsyncDisposable {
  readonly api = new ProfileApi({ pageSize: 15 });
  readonly feed = new FeedServer();
  readonly receiver = new Receiver();
  /** Merchants by transaction id, of the lines of all files that are there. */
  readonly lines = new Map<string, string>();
  /** Lines that are no transaction. */
  badLines = 0;
  readonly #random: () => number;
  readonly #folder: string;
  readonly #proxies: { readonly api: Proxy; readonly feed: Proxy; readonly hook: Proxy };
  readonly #sql: postgres.Sql;
  #isWriting = true;
  #working: Promise<unknown> = Promise.resolve();
  #failure: unknown = null;

  constructor({ seed, folder, databaseUrl }: { seed: number; folder: string; databaseUrl: string }) {
    this.#random = randomFrom(seed);
    this.#folder = folder;
    this.#sql = postgresClient(databaseUrl, { max: WRITERS + 1, connect_timeout: 5, backoff: () => 0.1 });
    const before = ({ port }: { readonly port: number }, chance: number) => {
      const proxy = new Proxy({ hostname: "127.0.0.1", port: 0 }, { hostname: "127.0.0.1", port });
      proxy.onAnswer = () => this.#fate(chance);
      return proxy;
    };
    this.#proxies = {
      api: before(this.api, 0.01),
      feed: before(this.feed, 0.01),
      hook: before(this.receiver, 0.03),
    };
    this.receiver.answer = ({ body }) => this.#answer(body.records);
  }

  /** What the definitions name by reference. */
  get env(): Record<string, string> {
    const { api, feed, hook } = this.#proxies;
    return {
      TAILRACE_SECRET_USERS_URL: `http://${api.address}/users`,
      TAILRACE_SECRET_EVENTS_URL: `http://${api.address}/events`,
      TAILRACE_SECRET_FEED_URL: `http://${feed.address}/`,
      TAILRACE_SECRET_HOOK_URL: `http://${hook.address}/hook`,
      TAILRACE_INCOMING: this.#folder,
    };
  }

  /** Rows of a SELECT. Whatever an outage left of itself in the client is waited out. */
  async rows(text: string): Promise<readonly postgres.Row[]> {
    for (let tries = ASKED_MAX;; tries--) {
      try {
        return await this.#sql.unsafe(text);
      } catch (error) {
        if (tries === 0) throw error;
        await sleep(ASKED_EVERY_MS);
      }
    }
  }

  /** Makes the table, with a history of all that was ever committed in it. */
  async makeTable(): Promise<void> {
    await this.#sql.unsafe(`
      CREATE SCHEMA faults;
      CREATE SEQUENCE faults.versions;
      CREATE TABLE faults.items (id int PRIMARY KEY, name text NOT NULL, category text NOT NULL, price numeric NOT NULL,
        last_updated timestamptz NOT NULL DEFAULT now());
      CREATE INDEX ON faults.items (last_updated, id);
      CREATE TABLE faults.history (id int NOT NULL, name text PRIMARY KEY, is_bad boolean NOT NULL);
      CREATE FUNCTION faults.remember() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO faults.history VALUES (NEW.id, NEW.name, NEW.price = 'NaN'); RETURN NULL; END $$;
      CREATE TRIGGER remember AFTER INSERT OR UPDATE ON faults.items FOR EACH ROW EXECUTE FUNCTION faults.remember()`);
  }

  /** All of them change from now on. */
  begin(): void {
    const writers = Array.from({ length: WRITERS }, (_, writer) => this.#writeTable(writer));
    const all = [this.#changeUsers(), this.#writeFiles(), this.#feedOn(), ...writers];
    this.#working = Promise.all(all.map((work) => work.catch((error) => this.#failure ??= error)));
  }

  /** Nothing changes any more when it resolves, and nobody refuses anything that is meant to pass. */
  async end(): Promise<void> {
    this.#isWriting = false;
    await this.#working;
    for (const proxy of Object.values(this.#proxies)) proxy.onAnswer = () => "pass";
    this.receiver.answer = ({ body }) => isRefused(body.records) ? new Response("flat", { status: 422 }) : null;
    if (this.#failure !== null) throw this.#failure;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isWriting = false;
    await this.#working;
    for (const proxy of Object.values(this.#proxies)) await proxy[Symbol.asyncDispose]();
    await Promise.all([this.api, this.feed, this.receiver].map((server) => server[Symbol.asyncDispose]()));
    await this.#sql.end({ timeout: 1 });
  }

  #fate(chance: number): Fate {
    const drawn = this.#random();
    return drawn < chance ? "cut" : drawn < 2 * chance ? "half" : "pass";
  }

  async #changeUsers(): Promise<void> {
    for (let n = 0; this.#isWriting; n++) {
      this.api.put(Math.floor(this.#random() * USERS), Date.now(), { name: `v${n}` });
      await sleep(this.#random() * 60);
    }
  }

  /** New rows, rows that change again and again, and rows that do not fit; some of it rolled back. */
  async #writeTable(writer: number): Promise<void> {
    for (let turn = 0; this.#isWriting; turn++) {
      const next = 1_000 + writer + WRITERS * turn;
      const held = this.#random() < 0.3 ? this.#random() * HELD_MS_MAX : 0;
      const price = this.#random() < 0.05 ? "NaN" : "1.5";
      const changed = Math.floor(this.#random() * ITEMS);
      // As one text: a client that is told of a transaction sends what is left of it even when the server has gone.
      const text = [
        "ROLLBACK; BEGIN",
        `INSERT INTO faults.items (id, name, category, price)
          VALUES (${next}, 'v' || nextval('faults.versions'), 'writer ${writer}', '${price}')`,
        `SELECT pg_sleep(${held / 1000})`,
        `INSERT INTO faults.items (id, name, category, price)
          VALUES (${changed}, 'v' || nextval('faults.versions'), 'shared', 1)
          ON CONFLICT (id) DO UPDATE SET name = 'v' || nextval('faults.versions'), last_updated = now()`,
        `SELECT pg_sleep(${held / 2000})`,
        this.#random() < 0.1 ? "ROLLBACK" : "COMMIT",
      ];
      // Whether it was committed when the server went away, the history knows.
      await this.#sql.unsafe(text.join(";\n")).simple().catch(() => sleep(100));
      await sleep(this.#random() * 40);
    }
  }

  async #writeFiles(): Promise<void> {
    for (let file = 0; this.#isWriting; file++) {
      const kind = ["csv", "ndjson", "csv.gz", "ndjson.gz"][file % 4];
      const count = 1 + Math.floor(this.#random() * LINES_MAX);
      const made = Array.from({ length: count }, (_, i) => payment(file * LINES_MAX + i, this.#random() < 0.02));
      const text = kind.startsWith("csv")
        ? [COLUMNS.join(","), ...made.map(csvLine)].join("\r\n") + "\r\n"
        : made.map((one) => JSON.stringify(one)).join("\n");
      const bytes = new TextEncoder().encode(text);
      const name = `${this.#folder}/${String(file).padStart(6, "0")}.${kind}`;
      await Deno.writeFile(`${name}.part`, kind.endsWith(".gz") ? gzipSync(bytes) : bytes);
      await Deno.rename(`${name}.part`, name);
      for (const { amount, transaction_id, merchant } of made) {
        if (amount === BAD_AMOUNT) this.badLines++;
        else this.lines.set(transaction_id, merchant);
      }
      await sleep(this.#random() * 400);
    }
  }

  async #feedOn(): Promise<void> {
    for (let n = 0; this.#isWriting; n++) {
      const reading = {
        sensor_id: `s${n % 7}`,
        site: `site ${n}`,
        temperature: n / 4,
        humidity: 50,
        battery: Math.floor(this.#random() * 100),
        measured_at: new Date().toISOString(),
      };
      this.feed.push(this.#random() < 0.02 ? `no reading ${n}` : JSON.stringify(reading));
      await sleep(this.#random() * 30);
    }
  }

  async #answer(records: readonly { readonly value: { readonly battery: number } }[]): Promise<Response | null> {
    if (isRefused(records)) return new Response("flat", { status: 422 });
    const drawn = this.#random();
    if (drawn < 0.04) return new Response("busy", { status: 503 });
    if (drawn < 0.06) return new Response("slower", { status: 429, headers: { "retry-after": "1" } });
    // Taken, and the sender has given up waiting for the answer.
    if (drawn < 0.08) await sleep(TOO_LONG_MS);
    return null;
  }
}

function isRefused(records: readonly { readonly value: { readonly battery: number } }[]): boolean {
  return records.some(({ value }) => value.battery === REFUSED_BATTERY);
}

const BAD_AMOUNT = "free";
const COLUMNS = [
  "transaction_id",
  "account_id",
  "merchant",
  "category",
  "status",
  "amount",
  "currency",
  "country",
  "event_time",
] as const;
type Payment = Readonly<Record<typeof COLUMNS[number], string>>;

function payment(n: number, isBad: boolean): Payment {
  return {
    transaction_id: `00000000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`,
    account_id: `acc-${n % 50}`,
    merchant: n % 5 === 0 ? `a "shop", on\ntwo lines ${n}` : `shop ${n}`,
    category: "groceries",
    status: "approved",
    amount: isBad ? BAD_AMOUNT : `${n}.25`,
    currency: "EUR",
    country: "DE",
    event_time: "2026-11-20T12:00:00.000Z",
  };
}

function csvLine(payment: Payment): string {
  return COLUMNS.map((name) => `"${payment[name].replaceAll('"', '""')}"`).join(",");
}
