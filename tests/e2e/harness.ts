/**
 * The real command line as a child process, on free ports and in a temporary folder, for tests that treat Tailrace as its
 * users do: they start it, read what it prints, use the addresses it names, interrupt it and kill it.
 *
 * Nothing outlives a test: `await using` ends what a failed test left running, and a watchdog ends it when the test's own
 * process dies.
 *
 * @module
 */
import type { PipelineStatus } from "../../pipeline/runtime/status.ts";

const PROJECT = new URL("../../", import.meta.url).pathname;
/** How long a start may take on a machine that is busy with other tests. */
const START_WITHIN_MS = 180_000;
const EXIT_WITHIN_MS = 120_000;
/** A Ctrl-C under load may take 5 seconds on a machine that does nothing else; the other tests run beside this one. */
export const STOP_WITHIN_MS = 60_000;
/** On a busy machine something waits for seconds for something else, which is told; that the results come is asked for itself. */
export const IS_SLOWNESS = /^waiting for PostgreSQL| waits: .*(without an answer|did not answer|that are under way)/;
/** Every port a free one. */
export const FREE_PORTS = ["--port", "0", "--broker-port", "0", "--registry-port", "0", "--postgres-port", "0"];

export interface Exited {
  /** The exit code; 128 and the signal's number for a process that a signal ended. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface SpawnOptions {
  /** Added to this process's environment, which is passed on without Tailrace's own settings. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** A program that runs; what it prints goes to files, so that no read is under way between tests. */
export class Child implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #watchdog: Deno.ChildProcess;
  readonly #folder: string;
  #status: Deno.CommandStatus | null = null;
  readonly #ended: Promise<Deno.CommandStatus>;

  constructor(command: readonly string[], { env = {}, cwd = PROJECT }: SpawnOptions = {}) {
    this.#folder = Deno.makeTempDirSync({ prefix: "tailrace_e2e_output_" });
    const script = 'out=$1; shift; exec "$@" >"$out/stdout" 2>"$out/stderr"';
    this.#process = new Deno.Command("/bin/sh", {
      args: ["-c", script, "sh", this.#folder, ...command],
      cwd,
      env: { ...inheritedEnvironment(), ...env },
      clearEnv: true,
      stdin: "null",
    }).spawn();
    // Its standard input ends when this process does, however it ends.
    this.#watchdog = new Deno.Command("/bin/sh", {
      args: ["-c", 'while read -r _; do :; done; kill -9 "$1" 2>/dev/null', "sh", String(this.#process.pid)],
      stdin: "piped",
    }).spawn();
    this.#ended = this.#process.status.then((status) => this.#status = status);
  }

  get pid(): number {
    return this.#process.pid;
  }

  get hasEnded(): boolean {
    return this.#status !== null;
  }

  get stdout(): string {
    return readIfThere(`${this.#folder}/stdout`);
  }

  get stderr(): string {
    return readIfThere(`${this.#folder}/stderr`);
  }

  kill(signal: Deno.Signal): void {
    try {
      this.#process.kill(signal);
    } catch {
      // It has ended already.
    }
  }

  /** Waits for the end. @throws when it takes longer than `withinMs` */
  async exited(withinMs = EXIT_WITHIN_MS): Promise<Exited> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<null>((resolve) => timer = setTimeout(() => resolve(null), withinMs));
    const status = await Promise.race([this.#ended, late]);
    clearTimeout(timer);
    if (!status) throw new Error(`It did not end within ${withinMs / 1000} s. It said:\n${this.stdout}${this.stderr}`);
    return { code: status.code, stdout: this.stdout, stderr: this.stderr };
  }

  /** Kills it if it still runs, and removes its output. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.kill("SIGKILL");
    await this.#ended;
    this.#watchdog.kill("SIGKILL");
    await this.#watchdog.stdin.close().catch(() => {});
    await this.#watchdog.status;
    await Deno.remove(this.#folder, { recursive: true });
  }
}

/** Runs a command line, `args` after `main.ts`, to its end. */
export async function runToEnd(
  args: readonly string[],
  options: SpawnOptions & { readonly withinMs?: number } = {},
): Promise<Exited> {
  await using child = new Child(commandLine(args), options);
  return await child.exited(options.withinMs ?? EXIT_WITHIN_MS);
}

/** A Tailrace that is up, with the addresses its screen names. */
export class Tailrace implements AsyncDisposable {
  readonly child: Child;
  readonly startedInMs: number;
  readonly screen: string;
  readonly url: string;
  readonly brokers: string;
  readonly registryUrl: string;
  /** With the password, which the screen does not show. */
  readonly databaseUrl: string;

  private constructor(child: Child, startedInMs: number, databaseUrl?: string) {
    this.child = child;
    this.startedInMs = startedInMs;
    this.screen = child.stdout;
    const row = (name: string) => {
      const found = this.screen.match(new RegExp(`^ *${name} +(\\S+)`, "m"));
      if (!found) throw new Error(`The screen does not tell "${name}":\n${this.screen}`);
      return found[1];
    };
    this.url = row("Dashboard");
    this.brokers = row("Kafka");
    this.registryUrl = row("Schema registry");
    const shown = row("PostgreSQL");
    if (databaseUrl === undefined) {
      const password = Deno.readTextFileSync(`${row("Data")}/postgres/password`).trim();
      databaseUrl = shown.replace(":***@", `:${password}@`);
    }
    this.databaseUrl = databaseUrl;
  }

  /** Starts `dev` or `run` and resolves when its screen is complete. */
  static async start(
    args: readonly string[],
    options: SpawnOptions & {
      readonly databaseUrl?: string;
      /** What runs these arguments, instead of this project's command line. */
      readonly command?: (args: readonly string[]) => readonly string[];
    } = {},
  ): Promise<Tailrace> {
    const child = new Child((options.command ?? commandLine)(args), options);
    try {
      const began = performance.now();
      await until("the screen is printed", () => {
        if (child.hasEnded) throw new Error(`It ended:\n${child.stdout}${child.stderr}`);
        return /^ {2}stop .*Ctrl-C/m.test(child.stdout);
      }, START_WITHIN_MS);
      return new Tailrace(child, performance.now() - began, options.databaseUrl);
    } catch (error) {
      await child[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Sends Ctrl-C's signal and waits for the end. */
  async stop(withinMs = EXIT_WITHIN_MS): Promise<Exited & { readonly tookMs: number }> {
    const began = performance.now();
    this.child.kill("SIGINT");
    const exited = await this.child.exited(withinMs);
    return { ...exited, tookMs: performance.now() - began };
  }

  /** kill -9, and all that it started is gone too when this resolves, except what ends by itself later. */
  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.child.exited();
  }

  /** `until`, with what it logged in the error. */
  async until<T>(what: string, holds: () => T | Promise<T>, withinMs?: number) {
    try {
      return await until(what, holds, withinMs);
    } catch (error) {
      throw new Error(`${(error as Error).message}\nIt logged:\n${this.child.stderr.slice(-4_000)}`, { cause: error });
    }
  }

  async status(pipeline: string): Promise<PipelineStatus> {
    const response = await fetch(`${this.url}/v1/pipelines/${pipeline}`);
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
    return await response.json();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.child.hasEnded) {
      // Politely first: a killed one leaves its PostgreSQL to end a little later.
      this.child.kill("SIGINT");
      await this.child.exited(STOP_WITHIN_MS).catch(() => {});
    }
    await this.child[Symbol.asyncDispose]();
  }
}

/** A folder that is removed at the end of the scope. */
export function temporaryFolder(): { readonly path: string } & AsyncDisposable {
  const path = Deno.makeTempDirSync({ prefix: "tailrace_e2e_" });
  return {
    path,
    async [Symbol.asyncDispose]() {
      // A PostgreSQL that was told to end may write its last files meanwhile.
      for (let tries = 0;; tries++) {
        try {
          return await Deno.remove(path, { recursive: true });
        } catch (error) {
          if (tries === 600) throw error;
          await sleep(100);
        }
      }
    },
  };
}

/**
 * Waits until `holds` gives something other than false, null and undefined, which is returned. A refused connection counts as
 * "not yet".
 *
 * @throws what `holds` throws, and when it takes longer than `withinMs`
 */
export async function until<T>(
  what: string,
  holds: () => T | Promise<T>,
  withinMs = 180_000,
): Promise<Exclude<T, false | null | undefined>> {
  const end = performance.now() + withinMs;
  for (;;) {
    const held = await Promise.resolve().then(holds).catch((error) => {
      if (error instanceof TypeError && performance.now() < end) return null;
      throw error;
    });
    if (held !== false && held !== null && held !== undefined) return held as Exclude<T, false | null | undefined>;
    if (performance.now() > end) throw new Error(`It did not happen within ${withinMs / 1000} s: ${what}`);
    await sleep(50);
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Runs a line as a person would paste it. */
export async function shell(line: string): Promise<Exited> {
  const { code, stdout, stderr } = await new Deno.Command("/bin/sh", { args: ["-c", line], stdin: "null" }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

export async function isInstalled(program: string): Promise<boolean> {
  return (await shell(`command -v ${program}`)).code === 0;
}

/** Ids of all processes that descend from one, by /proc. */
export function descendantsOf(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const entry of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(entry.name)) continue;
    // pid (name) state parent ...: the name may hold anything, also parentheses.
    const stat = readIfThere(`/proc/${entry.name}/stat`);
    const parent = Number(stat.slice(stat.lastIndexOf(")") + 1).trim().split(" ")[1]);
    const list = children.get(parent);
    if (list) list.push(Number(entry.name));
    else children.set(parent, [Number(entry.name)]);
  }
  const found: number[] = [];
  for (const open = [pid]; open.length > 0;) {
    const below = children.get(open.pop()!) ?? [];
    found.push(...below);
    open.push(...below);
  }
  return found;
}

export function isRunning(pid: number): boolean {
  const stat = readIfThere(`/proc/${pid}/stat`);
  return stat !== "" && !/\) Z /.test(stat);
}

/** `deno run` with the flags of the command's task, so that a missing permission fails here and not at the user's. */
export function commandLine(args: readonly string[]): string[] {
  const { tasks } = JSON.parse(Deno.readTextFileSync(`${PROJECT}deno.json`));
  const task = tasks[args[0]] ?? tasks.dev;
  const [, ...words] = (task.command as string).split(" ");
  const flags = words.slice(0, words.indexOf("main.ts"));
  return [Deno.execPath(), ...flags, `${PROJECT}main.ts`, ...args];
}

function inheritedEnvironment(): Record<string, string> {
  const own = /^(TAILRACE_|KAFKA_|SCHEMA_REGISTRY_|DATABASE_URL$)/;
  return Object.fromEntries(Object.entries(Deno.env.toObject()).filter(([name]) => !own.test(name)));
}

function readIfThere(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}
