import assert from "node:assert/strict";
import { elements, escapeXml, textOf } from "../../../../pipeline/sinks/lake/s3/xml.ts";

Deno.test("elements of a name are found, whatever stands around them", () => {
  const xml =
    `<?xml version="1.0"?>\n<R xmlns="x"><Key>a</Key><Keys>no</Keys><Key/>\n<Key a="1">b&amp;&lt;c&gt;&#x1F701;&#233;</Key><Key>cut`;
  assert.deepEqual(elements(xml, "Key"), ["a", "", "b&amp;&lt;c&gt;&#x1F701;&#233;"]);
  assert.equal(textOf(xml, "Key"), "a");
  assert.equal(textOf(xml.slice(xml.indexOf("<Key a")), "Key"), "b&<c>🜁é");
  assert.equal(textOf(xml, "Other"), "");
  assert.equal(textOf("<T>&none; &#x110000; &amp;lt;</T>", "T"), "&none; &#x110000; &lt;");
});

Deno.test("what is escaped is read as it was", () => {
  for (const text of ["plain", `<a b="c">&amp;</a>`, "é🜁"]) {
    assert.equal(textOf(`<T>${escapeXml(text)}</T>`, "T"), text);
  }
});
