/**
 * The driver's control connection, looked for once at a time.
 *
 * Where all nodes were away at once, versions 4.8 to 4.10 of the driver listen twice to the connection found: its end then starts two
 * searches, each of which listens twice again. Searches under way at the same time clear each other's connection, which ends in a
 * rejection that nobody handles, and a process with it. A connection that ended while it wrote begins to wait for its next heartbeat
 * nevertheless, and holds what it had for half a minute.
 *
 * @module
 */
import type driver from "cassandra-driver";

/** A search that failed in a way the driver does not expect is begun again after. */
const AGAIN_MS = 1_000;

/** The parts of the driver's own that its types leave out. */
interface ControlConnection {
  readonly connection: { readonly connected: boolean } | null;
  readonly _isShuttingDown: boolean;
  _refresh(hosts?: unknown): Promise<void>;
  _setHealthListeners(host: object, connection: object): void;
}

interface Connection {
  readonly connected: boolean;
  readonly isSocketOpen: boolean;
  _setIdleTimeout(): void;
}

const mended = new WeakSet<object>();

/** All connections of the driver: one that has ended waits for no heartbeat. */
function endWithoutHeartbeat(connection: object): void {
  const prototype = Object.getPrototypeOf(connection) as Connection;
  if (mended.has(prototype)) return;
  mended.add(prototype);
  const wait = prototype._setIdleTimeout;
  prototype._setIdleTimeout = function (this: Connection) {
    if (this.connected && this.isSocketOpen) wait.call(this);
  };
}

/** Makes a client that is not yet connected look for its control connection once at a time. */
export function searchOnceAtATime(client: driver.Client): void {
  const control = (client as unknown as { readonly controlConnection: ControlConnection }).controlConnection;
  const refresh = control._refresh.bind(control);
  const listen = control._setHealthListeners.bind(control);
  let heard = new WeakSet<object>();
  let isSearching = false;
  let isAskedAgain = false;

  control._setHealthListeners = (host, connection) => {
    endWithoutHeartbeat(connection);
    if (heard.has(connection)) return;
    heard.add(connection);
    listen(host, connection);
  };
  control._refresh = async (hosts) => {
    // Part of the search under way.
    if (hosts !== undefined) return await refresh(hosts);
    isAskedAgain = isSearching;
    if (isSearching) return;
    isSearching = true;
    heard = new WeakSet();
    const isDone = await refresh().then(() => true, () => false);
    isSearching = false;
    if (control._isShuttingDown) return;
    if (!isDone) setTimeout(() => control._refresh(), AGAIN_MS);
    // Its connection ended before the search did; a search that found none has begun to wait for its next try.
    else if (isAskedAgain && control.connection?.connected === false) await control._refresh();
  };
}
