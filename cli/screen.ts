import type { Plan } from "../pipeline/plan/plan.ts";
import type { ConnectorStatus } from "../pipeline/runtime/connector_status.ts";
import { type Config, withoutPassword } from "./config.ts";
import type { Addresses } from "./embedded.ts";

/** Sources, and deliveries, that get a line of their own. */
const LINES_MAX = 6;
/** A source that names its topics itself tells no name of one. */
const TOPIC_NAME = /^[\w.-]+$/;

/** What there is to run; any of it may be none. */
export interface Running {
  readonly plans: readonly Plan[];
  /** At the start: one that rests then lacks what its reason names. */
  readonly connectors: readonly Pick<ConnectorStatus, "name" | "kind" | "state" | "reason" | "from" | "to" | "topic">[];
}

type Row = readonly [name: string, value: string];

/** The one screen that says what runs where, and what to paste. */
export function startScreen(
  config: Config,
  running: Running,
  where: Addresses & { readonly api: string },
): string {
  const rows = [...placeRows(config, where), ...runningRows(config, running)];
  const width = Math.max(...rows.map(([name]) => name.length));
  const line = ([name, value]: Row) => `  ${name.padEnd(width)}  ${value}`;
  return [
    "",
    `  Tailrace runs`,
    "",
    ...rows.map(line),
    "",
    "  Try",
    "",
    ...commandRows(config, running, where).map(line),
    "",
  ].join("\n");
}

function placeRows(config: Config, where: Addresses & { readonly api: string }): Row[] {
  const embedded = (given: unknown) => given ? "" : " (embedded)";
  return [
    ["Dashboard", where.api],
    ["Kafka", where.brokers.join(",") + embedded(config.brokers.length)],
    ["Schema registry", withoutPassword(where.registryUrl) + embedded(config.registryUrl)],
    ["PostgreSQL", withoutPassword(where.databaseUrl) + embedded(config.databaseUrl)],
    ["Data", config.dataDir],
  ];
}

function runningRows({ rate }: Config, { plans, connectors }: Running): Row[] {
  const pipelines = plans.map((plan) =>
    `${plan.name}: ${plan.topic} by ${plan.groupBy.map(({ name }) => name).join(", ") || "nothing"}`
  );
  const lines = (kind: "source" | "delivery") => {
    const all = connectors.filter((one) => one.kind === kind && one.state !== "stopped")
      .map(({ name, from, to }) => `${name}: ${from} to ${to.join(", ")}`);
    if (all.length <= LINES_MAX) return all;
    return [...all.slice(0, LINES_MAX - 1), `and ${all.length - LINES_MAX + 1} more`];
  };
  // What to set is told in full by the command; here it is one line, however many rest.
  const resting = connectors.filter(({ state }) => state === "stopped").map(({ name, reason }) => {
    const variable = /TAILRACE_\w+/.exec(reason ?? "")?.[0];
    return variable === undefined ? name : `${name} (${variable})`;
  });
  const rows = [
    ...titled("Pipelines", pipelines),
    ...titled("Sources", lines("source")),
    ...titled("Deliveries", lines("delivery")),
    ...titled("Not set up", resting.length === 0 ? [] : [`${resting.join(", ")}; deno task connectors says more`]),
  ];
  if (rate > 0 && plans.some(({ topic }) => topic === "transactions")) {
    const many = rate === Infinity ? "as many as go" : rate;
    rows.push([
      "Generator",
      `${many} transactions a second to topic transactions; the first start tells 150 s of past at once`,
    ]);
  }
  return rows;
}

function titled(title: string, lines: readonly string[]): Row[] {
  return lines.map((line, i) => [i === 0 ? title : "", line]);
}

function commandRows(
  config: Config,
  { plans, connectors }: Running,
  where: Addresses & { readonly api: string },
): Row[] {
  const first = plans.find(({ sinks }) => sinks.some(({ kind }) => kind === "postgres")) ?? plans[0];
  const table = first?.sinks.find((sink) => sink.kind === "postgres")?.table;
  const database = withoutPassword(where.databaseUrl).replace(":***", "");
  const passwordFile = config.databaseUrl ? "" : `PGPASSWORD=$(cat '${config.dataDir}/postgres/password') `;
  const topics = connectors.filter(({ state }) => state !== "stopped").map(({ topic }) => topic);
  const topic = first?.sinks.find((sink) => sink.kind === "kafka")?.topic ?? first?.topic ??
    topics.find((name) => TOPIC_NAME.test(name));
  return [
    ...first
      ? [
        ["results", `curl -s '${where.api}/v1/pipelines/${first.name}/results?limit=3'`] as const,
        // Cut: an event may hold thousands of rows.
        ["live", `curl -sN ${where.api}/v1/live | cut -c -150`] as const,
      ]
      : [],
    ...table
      ? [
        [
          "SQL",
          `${passwordFile}psql '${database}' -c 'select * from ${table} order by window_start desc limit 5'`,
        ] as const,
      ]
      : [],
    ...topic ? [["Kafka", `kcat -b ${where.brokers[0]} -t ${topic} -C -o -1 -c 3 -f '%k %h\\n'`] as const] : [],
    ...connectors.length > 0 ? [["connectors", `curl -s ${where.api}/v1/connectors`] as const] : [],
    ["stop", "Ctrl-C; the next start goes on where this one stopped"],
  ];
}
