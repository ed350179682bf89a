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
import { key, KEY_OPTIONS } from "./keys.ts";
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
import { REPLAY_OPTIONS } from "./replay_options.ts";
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
    usage: "tailrace dev [OPTIONS]",
    summary: "Run everything here: embedded broker, registry and PostgreSQL, a generator, all pipelines, the API",
    options: [CONFIG_OPTION, ...settingOptions("dev")],
    notes: secretNotes("dev"),
    run: (call) => runPipelines("dev", call),
  },
  {
    name: "run",
    usage: "tailrace run --brokers HOST:PORT --registry URL --database URL [OPTIONS]",
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
    usage: "tailrace pipelines [stop NAME | start NAME] [OPTIONS]",
    summary: "List the pipelines of a running Tailrace, or stop and start one",
    options: PIPELINES_OPTIONS,
    notes: [API_KEY_NOTE],
    run: pipelines,
  },
  {
    name: "ledger",
    usage: "tailrace ledger [PIPELINE] [OPTIONS]",
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
    name: "letters",
    usage: "tailrace letters list | show PLACE | redrive [PLACE...] [OPTIONS]",
    summary: "List, show and bring back late records and dead letters of a running Tailrace",
    options: LETTER_OPTIONS,
    notes: ["PLACE is a letter as the list shows it: late/TOPIC/PARTITION/OFFSET or dead/...", API_KEY_NOTE],
    run: letters,
  },
  {
    name: "bench",
    usage: "tailrace bench [OPTIONS]",
    summary: "Measure how fast this machine does it: decode, fold, produce, drain, live, checkpoints",
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
  let askedAt = 0;
  const onSignal = () => {
    if (!stop.signal.aborted) {
      askedAt = performance.now();
      log.info("stopping (Ctrl-C once more to stop at once)");
      stop.abort(new DOMException("stopped by a signal", "AbortError"));
    } else if (performance.now() - askedAt > SAME_SIGNAL_MS) {
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
  noPositionals(positionals);
  const sources = { flags, environment: readEnvironment(), file: await readFile(flags.config) };
  hideSecrets(sources);
  const config = readConfig(mode, sources);
  // Loaded only now: `--help` and a wrong setting should not wait for the whole engine.
  const { start } = await import("./start.ts");
  return await start(config, { log, signal, settings: showSettings(mode, sources) }) ? Exit.ok : Exit.failed;
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

/** @throws ConfigError when there are any */
export function noPositionals(positionals: readonly string[]): void {
  if (positionals.length > 0) {
    throw new ConfigError({ where: "command line", problem: `"${positionals[0]}" is not expected` });
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
