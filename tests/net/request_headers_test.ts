import assert from "node:assert/strict";
import { ConfigError } from "../../pipeline/errors.ts";
import { createAuthorization } from "../../pipeline/net/authorization.ts";
import { headerFaults, headersOf } from "../../pipeline/net/request_headers.ts";
import { createSecrets, secret } from "../../pipeline/secrets.ts";

const TEXTS: Record<string, string> = {
  TAILRACE_SECRET_GOOD: "Bearer J\u00fcrgen",
  TAILRACE_SECRET_BAD: "two\r\nX-Lines: 1",
};
const secrets = createSecrets({ env: (name) => TEXTS[name], onFound: () => {} });

Deno.test("a header is a name, and one line of text or a secret", () => {
  const faults = headerFaults(
    { "a b": "x", good: "x\ty", line: "a\r\nb", snow: "\u2603", secret: secret("good") },
    "from.headers",
  );
  assert.deepEqual(faults.map(({ where }) => where), ["from.headers", "from.headers.line", "from.headers.snow"]);
  assert.deepEqual(headersOf({ "X-A": "1", Authorization: secret("good") }, secrets), {
    "x-a": "1",
    authorization: "Bearer J\u00fcrgen",
  });
});

Deno.test("a secret of several lines is no header: it says which, and not what is in it", () => {
  const isTold = (error: Error) =>
    error instanceof ConfigError && /secret bad/.test(error.message) && !error.message.includes("two");
  assert.throws(() => headersOf({ authorization: secret("bad") }, secrets), isTold);
  for (const auth of [{ bearer: secret("bad") }, { header: "x-key", value: secret("bad") }]) {
    assert.throws(() => createAuthorization(auth, { secrets, guard: {} }), isTold);
  }
});
