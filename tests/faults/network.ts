/**
 * What networks do to a connection, at one message after the other.
 *
 * @module
 */
import { sleep, until } from "../e2e/harness.ts";
import type { Fate, Proxy } from "../log/proxy.ts";
import type { FaultRun } from "./kind.ts";

/** Messages that pass before the one that is hit: each position has its turn. */
const POSITIONS = 12;
const HOLE_MS = 1_200;
const DELAY_MS = 150;
const DELAYED_FOR_MS = 600;

interface Way {
  readonly of: "request" | "answer";
  readonly fate: Fate | "delay";
}

const WAYS: readonly Way[] = [
  { of: "request", fate: "cut" },
  { of: "request", fate: "half" },
  { of: "request", fate: "swallow" },
  // What was asked for was done, and nobody is told.
  { of: "answer", fate: "cut" },
  { of: "answer", fate: "half" },
  { of: "answer", fate: "swallow" },
  { of: "request", fate: "delay" },
];

/**
 * Lets some messages pass, hits one, and mends the connection again. The way and the position follow from how many were hit before.
 *
 * @param options.lastingMs a black hole is left alone for so long, instead of being cut open soon
 */
export async function hit(
  proxy: Proxy,
  run: FaultRun,
  { lastingMs = null }: { readonly lastingMs?: number | null } = {},
): Promise<void> {
  const way = lastingMs === null ? WAYS[run.injected % WAYS.length] : WAYS.find(({ fate }) => fate === "swallow")!;
  let left = Math.floor(run.injected / WAYS.length) % POSITIONS;
  let isHit = false;
  const fate = (): Fate => {
    if (left-- > 0) return "pass";
    // A hole swallows all that comes after, too: what lacks its middle is no connection.
    if (isHit && way.fate !== "swallow") return "pass";
    isHit = true;
    if (way.fate === "delay") {
      proxy.delayMs = DELAY_MS;
      return "pass";
    }
    return way.fate;
  };
  if (way.of === "request") proxy.onRequest = fate;
  else proxy.onAnswer = fate;
  await until("a message was hit", () => isHit, 60_000);
  run.inject();
  if (way.fate === "delay") await sleep(DELAYED_FOR_MS);
  if (way.fate === "swallow") await sleep(lastingMs ?? HOLE_MS);
  proxy.onRequest = proxy.onAnswer = () => "pass";
  proxy.delayMs = 0;
  if (way.fate === "swallow" && lastingMs === null) proxy.cut();
}
