import assert from "node:assert/strict";
import { specialUse } from "../../pipeline/net/addresses.ts";

Deno.test("addresses that lead to the world are told from those that do not", () => {
  const world = ["1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.0", "192.167.255.255", "100.63.0.1", "100.128.0.1"];
  for (
    const address of [
      ...world,
      "2606:4700::1111",
      "2a00:1450::1",
      "::ffff:1.1.1.1",
      "64:ff9b::8.8.8.8",
      "2002:808:808::1",
    ]
  ) {
    assert.equal(specialUse(address), null, address);
  }
  const special: readonly (readonly [string, RegExp])[] = [
    ["127.0.0.1", /loopback/],
    ["127.255.255.254", /loopback/],
    ["::1", /loopback/],
    ["0:0:0:0:0:0:0:1", /loopback/],
    ["0.0.0.0", /this host/],
    ["::", /this host/],
    ["10.1.2.3", /private/],
    ["172.16.0.1", /private/],
    ["172.31.255.255", /private/],
    ["192.168.1.1", /private/],
    ["fd12::1", /private/],
    ["fc00::1", /private/],
    ["169.254.169.254", /link-local/],
    ["fe80::1", /link-local/],
    ["fe80::1%eth0", /link-local/],
    ["febf::1", /link-local/],
    ["100.64.0.1", /carrier/],
    ["100.100.100.200", /Alibaba's metadata/],
    ["168.63.129.16", /Azure's metadata/],
    ["fd00:ec2::254", /AWS's metadata/],
    ["224.0.0.1", /multicast/],
    ["ff02::1", /multicast/],
    ["255.255.255.255", /reserved/],
    ["::ffff:127.0.0.1", /loopback/],
    ["::ffff:7f00:1", /loopback/],
    ["::ffff:169.254.169.254", /link-local/],
    ["::127.0.0.1", /reserved/],
    ["64:ff9b::127.0.0.1", /loopback/],
    ["64:ff9b:1::1", /reserved/],
    ["2002:7f00:1::", /loopback/],
    ["2002:a9fe:a9fe::1", /link-local/],
    ["2001::1", /protocols/],
    ["2001:db8::1", /documentation/],
    ["fec0::1", /reserved/],
    ["localhost", /no address/],
    ["1.2.3", /no address/],
    ["", /no address/],
  ];
  for (const [address, use] of special) assert.match(specialUse(address) ?? "the world", use, address);
});
