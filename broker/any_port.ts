/** Below the ports that systems give to whoever asks for any: nobody gets one of these by chance. */
const LEAST = 20_000;
const MOST = 32_767;

/**
 * A free port for a program that takes no 0 and listens some time after its port was chosen.
 *
 * @throws Error when a thousand of them are taken
 */
export function anyPort(host: string): number {
  for (let tries = 0; tries < 1_000; tries++) {
    const port = LEAST + Math.floor(Math.random() * (MOST - LEAST + 1));
    try {
      Deno.listen({ hostname: host, port }).close();
      return port;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
  throw new Error(`no port from ${LEAST} to ${MOST} is free on ${host}`);
}
