import { anyPort } from "../../broker/any_port.ts";

const given = new Set<number>();

/** A port on loopback that nothing listens on now; to the tests of a file, another one each time. */
export function freePort(): number {
  let port = anyPort("127.0.0.1");
  while (given.has(port)) port = anyPort("127.0.0.1");
  given.add(port);
  return port;
}
