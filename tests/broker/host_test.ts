import assert from "node:assert/strict";
import { isLoopback, loopbackAddress, urlHost } from "../../broker/host.ts";

Deno.test("a host is known for loopback's or not, and looks in a URL as clients need it", () => {
  const seen = ["127.0.0.1", "127.0.0.9", "::1", "localhost", "0.0.0.0", "::", "10.0.0.7", "fe80::1", "box.lan"]
    .map((host) => [host, isLoopback(host), loopbackAddress(host), urlHost(host)]);
  assert.deepEqual(seen, [
    ["127.0.0.1", true, "127.0.0.1", "127.0.0.1"],
    ["127.0.0.9", true, "127.0.0.9", "127.0.0.9"],
    ["::1", true, "::1", "[::1]"],
    ["localhost", true, "127.0.0.1", "localhost"],
    ["0.0.0.0", false, "127.0.0.1", "127.0.0.1"],
    ["::", false, "127.0.0.1", "[::1]"],
    ["10.0.0.7", false, "127.0.0.1", "10.0.0.7"],
    ["fe80::1", false, "127.0.0.1", "[fe80::1]"],
    ["box.lan", false, "127.0.0.1", "box.lan"],
  ]);
});
