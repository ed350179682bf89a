/** Below the ports that systems give to whoever asks for any, so that nobody gets one by chance while its user is down. */
const LEAST = 20_000;
const MOST = 32_767;
const given = new Set<number>();

/** A port on loopback that nothing listens on now, another one each time. */
export function freePort(): number {
  for (let tries = 0; tries < 1_000; tries++) {
    const port = LEAST + Math.floor(Math.random() * (MOST - LEAST + 1));
    if (given.has(port)) continue;
    given.add(port);
    try {
      Deno.listen({ hostname: "127.0.0.1", port }).close();
      return port;
    } catch {
      // Somebody has it.
    }
  }
  throw new Error(`No port of ${LEAST} to ${MOST} is free`);
}
