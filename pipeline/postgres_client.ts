/**
 * Clients of PostgreSQL, each made here.
 *
 * A connection of postgres.js that is lost and made again remembers the lost one: of its last answer, how many rows had come, so
 * that the next SELECT has as many holes before its rows; the error that ended it, which the next statement then fails with; bytes
 * not sent, upon which connecting hangs until its time limit. So a client that lost a connection makes none again: its statements
 * fail, as those on the lost connection do, and what is asked later is asked of a new one.
 *
 * @module
 */
import postgres from "postgres";

type Options = postgres.Options<Record<string, never>>;

/** What {@linkcode postgresClient} leaves open. */
export type PostgresClientOptions = Omit<
  Options,
  "fetch_types" | "idle_timeout" | "max_lifetime" | "onclose" | "onparameter"
>;

/**
 * A client that connects when it is first asked something; one connection unless `max` says otherwise, and notices unheard.
 *
 * @throws Error whose message shows `url`, password and all, when that is not a URL
 */
export function postgresClient(url: string, options: PostgresClientOptions = {}): postgres.Sql {
  const endings = new Set<Promise<void>>();
  let hasEnded = false;
  const connect = (hosts: Partial<Options> = {}): postgres.Sql => {
    let wasTaken = false;
    const made = postgres(url, {
      max: 1,
      onnotice: () => {},
      ...options,
      ...hosts,
      // Nobody waits for the client's own question for the server's types: where a server ends a connection right after the login,
      // it would end this process too. Without it arrays are texts, `{1,2}`, that the caller writes and reads.
      fetch_types: false,
      // A connection that ends takes those beside it along, so none ends for its age.
      idle_timeout: undefined,
      max_lifetime: null,
      // Told by a server that has taken the login.
      onparameter: () => wasTaken = true,
      onclose: () => {
        if (made !== current || hasEnded) return;
        current = connect(wasTaken ? hosts : nextHosts(made));
        const ending = abandon(made).finally(() => endings.delete(ending));
        endings.add(ending);
      },
    });
    return made;
  };
  let current = connect();
  const end: postgres.Sql["end"] = async (how) => {
    hasEnded = true;
    await Promise.all([how?.timeout === 0 ? abandon(current) : current.end(how), ...endings]);
  };
  // A function as a target, for a client is called as a template's tag.
  return new Proxy((() => {}) as unknown as postgres.Sql, {
    apply: (_target, _this, parts) => Reflect.apply(current, undefined, parts),
    get: (_target, name) => name === "end" ? end : Reflect.get(current, name),
  });
}

/** Ends a client now: its statements fail, also those that wait for a connection, for which it would connect once more. */
function abandon(made: postgres.Sql): Promise<void> {
  const refuse = () =>
    Promise.reject(Object.assign(new Error("the connection was lost"), { code: "CONNECTION_CLOSED" }));
  // Read whenever it connects; with a further host to try it would tell nobody.
  Object.assign(made.options, { socket: refuse, host: made.options.host.slice(0, 1) });
  return made.end({ timeout: 0 });
}

/** Of several hosts the first becomes the last, for it may be one that does not answer. */
function nextHosts({ options: { host, port } }: postgres.Sql): Partial<Options> {
  if (host.length === 1) return {};
  const turned = { host: [...host.slice(1), host[0]], port: [...port.slice(1), port[0]] };
  return turned as unknown as Partial<Options>; // the client's types know one only
}
