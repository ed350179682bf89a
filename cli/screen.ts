import type { Plan } from "../pipeline/plan/plan.ts";
import { type Config, withoutPassword } from "./config.ts";
import type { Addresses } from "./embedded.ts";

/** The one screen that says what runs where, and what to paste. */
export function startScreen(
  config: Config,
  plans: readonly Plan[],
  where: Addresses & { readonly api: string },
): string {
  const embedded = (given: unknown) => given ? "" : " (embedded)";
  const first = plans.find(({ sinks }) => sinks.some(({ kind }) => kind === "postgres")) ?? plans[0];
  const table = first.sinks.find((sink) => sink.kind === "postgres")?.table;
  const topic = first.sinks.find((sink) => sink.kind === "kafka")?.topic ?? first.topic;
  const rows = [
    ["Dashboard", where.api],
    ["Kafka", where.brokers.join(",") + embedded(config.brokers.length)],
    ["Schema registry", withoutPassword(where.registryUrl) + embedded(config.registryUrl)],
    ["PostgreSQL", withoutPassword(where.databaseUrl) + embedded(config.databaseUrl)],
    ["Data", config.dataDir],
    ...plans.map((
      plan,
      i,
    ) => [
      i === 0 ? "Pipelines" : "",
      `${plan.name}: ${plan.topic} by ${plan.groupBy.map(({ name }) => name).join(", ") || "nothing"}`,
    ]),
  ];
  if (config.rate > 0) {
    rows.push([
      "Generator",
      `${
        config.rate === Infinity ? "as many as go" : config.rate
      } transactions a second to topic transactions; the first start tells 150 s of past at once`,
    ]);
  }
  const width = Math.max(...rows.map(([name]) => name.length));
  const passwordFile = config.databaseUrl ? "" : `PGPASSWORD=$(cat '${config.dataDir}/postgres/password') `;
  const commands = [
    ["results", `curl -s '${where.api}/v1/pipelines/${first.name}/results?limit=3'`],
    // Cut: an event may hold thousands of rows.
    ["live", `curl -sN ${where.api}/v1/live | cut -c -150`],
    ...table
      ? [[
        "SQL",
        `${passwordFile}psql '${
          withoutPassword(where.databaseUrl).replace(":***", "")
        }' -c 'select * from ${table} order by window_start desc limit 5'`,
      ]]
      : [],
    ["Kafka", `kcat -b ${where.brokers[0]} -t ${topic} -C -o -1 -c 3 -f '%k %h\\n'`],
    ["stop", "Ctrl-C; the next start goes on where this one stopped"],
  ];
  return [
    "",
    `  Tailrace runs`,
    "",
    ...rows.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`),
    "",
    "  Try",
    "",
    ...commands.map(([name, command]) => `  ${name.padEnd(width)}  ${command}`),
    "",
  ].join("\n");
}
