/** A port on loopback that nothing listens on now. Another program may take it before it is used: ask late. */
export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}
