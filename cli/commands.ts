/**
 * The commands: what each takes, what it does, and the exit code it ends with.
 *
 * @module
 */
import { parseArgs, type ParseArgsOptionsConfig } from "node:util";
import { BENCH_OPTIONS } from "../bench/options.ts";
import { redact } from "../api/security/redact.ts";
import { ConfigError } from "../pipeline/errors.ts";
import { API_KEY_NOTE } from "./api_client.ts";
import { backfill, BACKFILL_OPTIONS } from "./backfill.ts";
import type { Call, Option } from "./call.ts";
import {
  type Config,
  defaultText,
  hideSecrets,
  readConfig,
  readEnvironment,
  settingsOf,
  showSettings,
} from "./config.ts";
import { Exit } from "./exit.ts";
import { connectors, CONNECTORS_OPTIONS } from "./ask_connectors.ts";
import { audit, AUDIT_OPTIONS } from "./audit.ts";
import { EXPORT_OPTIONS, exportFile } from "./export.ts";
import { key, KEY_OPTIONS } from "./keys.ts";
import { lake, LAKE_OPTIONS } from "./lake.ts";
import { LETTER_OPTIONS } from "./letter_arguments.ts";
import { letters } from "./letters.ts";
import { createLogger } from "./log.ts";
import {
  explain,
  EXPLAIN_OPTIONS,
  ledger,
  LEDGER_OPTIONS,
  pipelines,
  PIPELINES_OPTIONS,
  rewind,
  REWIND_OPTIONS,
} from "./operations.ts";
import { withPermissionHint } from "./permission_hint.ts";
import { preview, PREVIEW_OPTIONS } from "./preview.ts";
import { REPLAY_OPTIONS } from "./replay_options.ts";
import { SNOWFLAKE_OPTIONS } from "./snowflake_options.ts";
import { sql, SQL_OPTIONS } from "./sql.ts";
import { VERSION } from "./version.ts";

interface Command {
  readonly name: string;
  readonly usage: string;
  readonly summary: string;
  readonly options: readonly Option[];
  /** More for `--help`, a line each. */
  readonly notes?: readonly string[];
  readonly run: (call: Call) => Promise<number>;
}

/** `deno task` and `npx` pass on a Ctrl-C that the terminal has sent as well: within this time it is the same one. */
const SAME_SIGNAL_MS = 1_000;

const CONFIG_OPTION: Option = {
  flag: "config",
  placeholder: "FILE",
  help: "JSON file of settings, named as the options here",
};

const COMMANDS: readonly Command[] = [
  {
    name: "dev",
    usage: "tailrace dev [NAME...] [OPTIONS]",
    summary: "Run everything here: embedded broker, registry and PostgreSQL, a generator, all pipelines, the API",
    options: [CONFIG_OPTION, ...settingOptions("dev")],
    notes: secretNotes("dev"),
    run: (call) => runPipelines("dev", call),
  },
  {
    name: "run",
    usage: "tailrace run [NAME...] --brokers HOST:PORT --registry URL --database URL [OPTIONS]",
    summary: "Run the pipelines and the API against your own Kafka, registry and PostgreSQL",
    options: [CONFIG_OPTION, ...settingOptions("run")],
    notes: secretNotes("run"),
    run: (call) => runPipelines("run", call),
  },
  {
    name: "replay",
    usage: "tailrace replay FILE --topic TOPIC [OPTIONS]",
    summary: "Play a CSV, NDJSON or Parquet file into a topic",
    options: REPLAY_OPTIONS,
    // Loaded when called: help should not wait for the engine.
    run: async (call) => await (await import("./replay.ts")).replay(call),
  },
  {
    name: "check",
    usage: "tailrace check",
    summary: "Check every definition in streams/ without running anything",
    options: [],
    run: async () => await (await import("./check.ts")).check(),
  },
  {
    name: "key",
    usage: "tailrace key new --role ROLE [--name TEXT] | list | remove ID [OPTIONS]",
    summary: "Make, list and remove the keys of the API",
    options: KEY_OPTIONS,
    notes: ["A key is shown once, when it is made. With a first key the API asks everybody for one."],
    run: key,
  },
  {
    name: "pipelines",
    usage: "tailrace pipelines [stop NAME | start NAME | limit NAME N|none] [OPTIONS]",
    summary: "List the pipelines of a running Tailrace, or stop, start or slow one",
    options: PIPELINES_OPTIONS,
    notes: [API_KEY_NOTE],
    run: pipelines,
  },
  {
    name: "connectors",
    usage: "tailrace connectors [NAME | rejected NAME | stop NAME | start NAME | limit NAME N|none] [OPTIONS]",
    summary: "List the sources and deliveries of a running Tailrace, show one, or stop, start or slow it",
    options: CONNECTORS_OPTIONS,
    notes: ["N is records a second. A limit stands until the process ends.", API_KEY_NOTE],
    run: connectors,
  },
  {
    name: "ledger",
    usage: "tailrace ledger [NAME] [OPTIONS]",
    summary: "Say where every record ended",
    options: LEDGER_OPTIONS,
    notes: [API_KEY_NOTE],
    run: ledger,
  },
  {
    name: "explain",
    usage: "tailrace explain TOPIC PARTITION OFFSET [OPTIONS]",
    summary: "Say what became of one record, and why",
    options: EXPLAIN_OPTIONS,
    notes: [API_KEY_NOTE],
    run: explain,
  },
  {
    name: "rewind",
    usage: "tailrace rewind PIPELINE --to TIME | --offset N | --earliest [OPTIONS]",
    summary: "Let a pipeline compute windows again, as a new revision",
    options: REWIND_OPTIONS,
    notes: ["Whole windows are computed again, each from all of its records; nothing is there twice.", API_KEY_NOTE],
    run: rewind,
  },
  {
    name: "backfill",
    usage: "tailrace backfill PIPELINE [--from TIME] [--to TIME] [OPTIONS]",
    summary: "Build a pipeline's history from its topic's archive, and hand over to the log",
    options: BACKFILL_OPTIONS,
    notes: ["The pipeline rests meanwhile. What was broken off is run again: nothing is there twice.", API_KEY_NOTE],
    run: backfill,
  },
  {
    name: "preview",
    usage: "tailrace preview FILE [--minutes N] [--pipeline NAME] [OPTIONS]",
    summary: "Run an edited definition over the last minutes of its topic's archive, and show what differs",
    options: PREVIEW_OPTIONS,
    notes: ["FILE is read here, and need not be deployed. Nothing is written.", API_KEY_NOTE],
    run: preview,
  },
  {
    name: "export",
    usage: "tailrace export PIPELINE | --table NAME [OPTIONS]",
    summary: "Write results, or a table of the lake, into one Parquet or CSV file",
    options: EXPORT_OPTIONS,
    notes: ["Final rows of one moment. The file is whole, or it is not there.", API_KEY_NOTE],
    run: exportFile,
  },
  {
    name: "snowflake",
    usage: "tailrace snowflake DELIVERY [OPTIONS]",
    summary: "Print what takes a delivery's JSON files into a Snowflake table, or do it",
    options: SNOWFLAKE_OPTIONS,
    notes: ["--upload needs the package snowflake-sdk and the secrets that docs/snowflake.md names."],
    // Loaded when called: it reads the definitions, for which other commands have neither use nor permission.
    run: async (call) => await (await import("./snowflake.ts")).snowflake(call),
  },
  {
    name: "letters",
    usage: "tailrace letters list | show PLACE | redrive [PLACE...] [OPTIONS]",
    summary: "List, show and bring back late records and dead letters of a running Tailrace",
    options: LETTER_OPTIONS,
    notes: ["PLACE is a letter as the list shows it: late/TOPIC/PARTITION/OFFSET or dead/...", API_KEY_NOTE],
    run: letters,
  },
  {
    name: "audit",
    usage: "tailrace audit [PIPELINE | repair PIPELINE] [OPTIONS]",
    summary: "Say whether the results are what the topics' records give, or put PostgreSQL right",
    options: AUDIT_OPTIONS,
    notes: ["Pipelines whose topic has an archive are audited by themselves, all the time.", API_KEY_NOTE],
    run: audit,
  },
  {
    name: "lake",
    usage: "tailrace lake [TABLE | compact TABLE | vacuum TABLE] [OPTIONS]",
    summary: "List the lake's tables of a running Tailrace, show one, or keep one in shape",
    options: LAKE_OPTIONS,
    notes: [
      "Tailrace compacts and vacuums by itself; these do it now. Versions older than a vacuum's retention are gone.",
      API_KEY_NOTE,
    ],
    run: lake,
  },
  {
    name: "sql",
    usage: 'tailrace sql ["SELECT ..."] [OPTIONS]',
    summary: "Ask in SQL what is hot and what is history; from standard input without an argument",
    options: SQL_OPTIONS,
    notes: [API_KEY_NOTE],
    run: sql,
  },
  {
    name: "bench",
    usage: "tailrace bench [OPTIONS]",
    summary: "Measure how fast this machine does it: decode, fold, produce, drain, live, checkpoints, the lake",
    options: BENCH_OPTIONS,
    run: async (call) => await (await import("../bench/mod.ts")).bench(call),
  },
];

/** Runs the command that the arguments name; returns the exit code. */
export async function runCommand(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === "--version" || name === "-V") {
    console.log(`tailrace ${VERSION}`);
    return Exit.ok;
  }
  const command = COMMANDS.find((command) => command.name === name);
  if (!command) {
    const asked = name === "--help" || name === "-h" || name === "help";
    if (asked) console.log(overview());
    else console.error(name === undefined ? overview() : `There is no command "${name}".\n\n${overview()}`);
    return asked ? Exit.ok : Exit.misconfigured;
  }
  if (rest.includes("--help") || rest.includes("-h")) {
    console.log(helpOf(command));
    return Exit.ok;
  }
  const log = createLogger();
  const stop = new AbortController();
  let endsAtOnce = false;
  const later = (ms: number, run: () => void) => Deno.unrefTimer(setTimeout(run, ms));
  const onSignal = () => {
    if (!stop.signal.aborted) {
      // In two halves: a repeat that waited while this thread was busy is heard before the second is even begun.
      later(SAME_SIGNAL_MS / 2, () => later(SAME_SIGNAL_MS / 2, () => endsAtOnce = true));
      log.info("stopping (Ctrl-C once more to stop at once)");
      stop.abort(new DOMException("stopped by a signal", "AbortError"));
    } else if (endsAtOnce) {
      Deno.exit(Exit.killed);
    }
  };
  const signals = Deno.build.os === "windows" ? ["SIGINT", "SIGBREAK"] as const : ["SIGINT", "SIGTERM"] as const;
  for (const signal of signals) Deno.addSignalListener(signal, onSignal);
  try {
    const code = await command.run({ ...parse(command, rest), log, signal: stop.signal });
    if (stop.signal.aborted) log.info("stopped");
    return code;
  } catch (error) {
    if (stop.signal.aborted) return Exit.ok;
    if (error instanceof ConfigError) {
      const count = error.faults.length;
      console.error(`${count === 1 ? "One thing has" : `${count} things have`} to be mended:\n`);
      for (const { where, problem } of error.faults) console.error(redact(`  ${where}: ${problem}`));
      return Exit.misconfigured;
    }
    log.error(`tailrace ${command.name} failed: ${withPermissionHint(error as Error)}`);
    if ((error as Error).name !== "UnavailableError") console.error(redact((error as Error).stack ?? ""));
    return Exit.failed;
  } finally {
    for (const signal of signals) Deno.removeSignalListener(signal, onSignal);
  }
}

async function runPipelines(mode: Config["mode"], { flags, positionals, log, signal }: Call): Promise<number> {
  const sources = {
    flags: named(flags, positionals),
    environment: readEnvironment(),
    file: await readFile(flags.config),
  };
  hideSecrets(sources);
  const config = readConfig(mode, sources);
  // Loaded only now: `--help` and a wrong setting should not wait for the whole engine.
  const { start } = await import("./start.ts");
  return await start(config, { log, signal, settings: showSettings(mode, sources) }) ? Exit.ok : Exit.failed;
}

/** Names on the command line are those of `--pipelines`. */
function named(flags: Call["flags"], names: readonly string[]): Call["flags"] {
  if (names.length === 0) return flags;
  if (flags.pipelines !== undefined) {
    throw new ConfigError({
      where: "--pipelines",
      problem: `name them here or as ${names.join(" ")}, not in both places`,
    });
  }
  return { ...flags, pipelines: names.join(",") };
}

async function readFile(path: string | undefined): Promise<{ path: string; content: unknown } | null> {
  if (path === undefined) return null;
  try {
    return { path, content: JSON.parse(await Deno.readTextFile(path)) };
  } catch (error) {
    throw new ConfigError({ where: `--config ${path}`, problem: `cannot be read: ${whyUnreadable(error as Error)}` });
  }
}

/** Of a text that is no JSON only the place: the message quotes what stands there, which may be a password. */
function whyUnreadable(error: Error): string {
  if (!(error instanceof SyntaxError)) return withPermissionHint(error);
  const place = /\(line \d+ column \d+\)|position \d+/.exec(error.message);
  return `it is not JSON${place ? `, at ${place[0].replace(/[()]/g, "")}` : ""}`;
}

function settingOptions(mode: Config["mode"]): Option[] {
  return settingsOf(mode).filter(({ secret }) => !secret).map((setting) => {
    const { flag, placeholder, help, variable, fallback } = setting;
    const isTold = typeof fallback === "number" || (typeof fallback === "string" && fallback !== "");
    const byDefault = isTold ? `, default ${defaultText(setting)}` : "";
    return { flag, placeholder, help: `${help} (${variable}${byDefault})` };
  });
}

function secretNotes(mode: Config["mode"]): string[] {
  return settingsOf(mode).filter(({ secret }) => secret).map(({ flag, variable, help }) =>
    `${variable}, or ${flag} in the file: ${help} (no option, as command lines are seen by others)`
  );
}

function parse(command: Command, args: string[]): Pick<Call, "flags" | "positionals"> {
  const options: ParseArgsOptionsConfig = Object.fromEntries(command.options.map(({ flag, placeholder }) => [
    flag,
    { type: placeholder === "" ? "boolean" as const : "string" as const },
  ]));
  try {
    const { values, positionals } = parseArgs({ args, options, allowPositionals: true, strict: true });
    return {
      flags: Object.fromEntries(Object.entries(values).map(([flag, value]) => [flag, String(value)])),
      positionals,
    };
  } catch (error) {
    const [problem] = (error as Error).message.split(". To specify");
    throw new ConfigError({
      where: `tailrace ${command.name}`,
      problem: `${problem}; see tailrace ${command.name} --help`,
    });
  }
}

function overview(): string {
  const width = Math.max(...COMMANDS.map(({ name }) => name.length));
  return [
    "Tailrace: how much, per key, per minute, right now, and is it right?",
    "",
    "Usage: tailrace COMMAND [OPTIONS]        (or: deno task COMMAND [OPTIONS])",
    "",
    ...COMMANDS.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`),
    "",
    "tailrace COMMAND --help tells the options of one. tailrace --version tells the version.",
    `Exit codes: ${Exit.ok} done, ${Exit.failed} failed, ${Exit.misconfigured} something has to be mended first.`,
  ].join("\n");
}

function helpOf({ usage, summary, options, notes = [] }: Command): string {
  const left = options.map(({ flag, placeholder }) => `--${flag} ${placeholder}`.trim());
  const width = Math.max(0, ...left.map((text) => text.length));
  return [
    summary,
    "",
    `Usage: ${usage}`,
    ...options.length > 0 ? ["", "Options:"] : [],
    ...options.map(({ help }, i) => `  ${left[i].padEnd(width)}  ${help}`),
    ...notes.length > 0 ? ["", ...notes] : [],
  ].join("\n");
}
