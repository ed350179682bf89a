/**
 * Loaded before the program (`deno run --preload`): counts all that it puts on disk or into a socket, in each of its threads,
 * and kills it at one of these points.
 *
 *     FAULTS_KILL_AT      <thread>:<number>:<before|half|after>
 *     FAULTS_POINTS_FILE  instead: the points are written there, a line each: <thread> <number> <what>
 *     FAULTS_POINTS_IN    only points at files of this folder are counted
 *     FAULTS_BOOT_FOLDER  where the starters of its workers are written
 *
 * @module
 */
import net from "node:net";

const self_ = globalThis as unknown as { FAULTS_THREAD?: string };
const thread = self_.FAULTS_THREAD ?? "main";
const boot = Deno.env.get("FAULTS_BOOT_FOLDER")!;
const within = Deno.env.get("FAULTS_POINTS_IN") ?? "";
const pointsFile = Deno.env.get("FAULTS_POINTS_FILE");
const [killThread, killNumber, killWhen] = (Deno.env.get("FAULTS_KILL_AT") ?? "::").split(":");
const writeTextFileSync = Deno.writeTextFileSync;
const fileWriteSync = Deno.FsFile.prototype.writeSync;
let points = 0;

function die(): void {
  Deno.kill(Deno.pid, "SIGKILL");
}

/** The next point; true when it is the one. */
function reached(what: string): boolean {
  if (!what.includes(within)) return false;
  points++;
  if (pointsFile) writeTextFileSync(pointsFile, `${thread} ${points} ${what}\n`, { append: true });
  return thread === killThread && points === Number(killNumber);
}

// deno-lint-ignore no-explicit-any -- any function, with whatever it takes
type AnyFunction = (this: any, ...args: any[]) => any;

/** Where open files are. */
const paths = new WeakMap<object, string>();
const { open, openSync } = Deno;
const noted = (file: Deno.FsFile, path: string | URL) => {
  paths.set(file, String(path));
  return file;
};
Deno.open = async (path, options) => noted(await open(path, options), path);
Deno.openSync = (path, options) => noted(openSync(path, options), path);

/** Replaces a function by one that counts, and that kills before, in the middle or after. */
function watch(
  holder: object,
  name: string,
  options: { what?: string; half?: (self: unknown, args: unknown[]) => void } = {},
) {
  const functions = holder as Record<string, AnyFunction | undefined>;
  const original = functions[name];
  if (typeof original !== "function") return;
  functions[name] = function (...args) {
    const path = args.find((arg) => typeof arg === "string" && arg.includes("/")) ?? paths.get(this);
    if (!reached(`${options.what ?? name}${path === undefined ? "" : ` ${path}`}`)) return original.apply(this, args);
    if (killWhen === "before") die();
    if (killWhen === "half") {
      options.half?.(this, args);
      die();
    }
    const result = original.apply(this, args);
    if (result instanceof Promise) return result.finally(die);
    die();
    return result;
  };
}

const half = (file: unknown, [bytes]: unknown[]) => {
  const data = bytes as Uint8Array;
  fileWriteSync.call(file as Deno.FsFile, data.subarray(0, data.length >> 1));
};
for (const name of ["write", "writeSync"]) watch(Deno.FsFile.prototype, name, { half, what: "write" });
for (const name of ["sync", "syncSync", "syncData", "syncDataSync", "truncate", "truncateSync"]) {
  watch(Deno.FsFile.prototype, name);
}
const onFiles = ["rename", "remove", "link", "writeFile", "writeTextFile", "truncate"];
for (const name of onFiles.flatMap((name) => [name, `${name}Sync`])) watch(Deno, name);
watch(net.Socket.prototype, "write", { what: "send" });

// What a server answers: its connections have no constructor that could be had otherwise.
const listen = Deno.listen;
Object.assign(Deno, {
  listen(options: Deno.TcpListenOptions) {
    const listener = listen(options);
    const accept = listener.accept;
    let isWatched = false;
    listener.accept = async function () {
      const connection = await accept.call(this);
      if (!isWatched) watch(Object.getPrototypeOf(Object.getPrototypeOf(connection)), "write", { what: "answer" });
      isWatched = true;
      return connection;
    };
    return listener;
  },
});

const RealWorker = Worker;
let workers = 0;
globalThis.Worker = class extends RealWorker {
  constructor(url: string | URL, options?: WorkerOptions) {
    const name = `${options?.name ?? "worker"}${workers++ === 0 ? "" : workers}`;
    const path = `${boot}/boot-${Deno.pid}-${name}.ts`;
    const named = `${boot}/name-${Deno.pid}-${name}.ts`;
    writeTextFileSync(named, `globalThis.FAULTS_THREAD = ${JSON.stringify(name)};\n`);
    writeTextFileSync(
      path,
      [named, import.meta.url, String(url)].map((it) => `import ${JSON.stringify(it)};\n`).join(""),
    );
    super(new URL(`file://${path}`).href, options);
  }
};
