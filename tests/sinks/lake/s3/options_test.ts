import assert from "node:assert/strict";
import { baseUrl, parseS3Url, type S3Options } from "../../../../pipeline/sinks/lake/s3/options.ts";

const AWS: S3Options = {
  endpoint: "",
  region: "eu-central-1",
  accessKeyId: "",
  secretAccessKey: "",
  sessionToken: "",
  pathStyle: null,
};

Deno.test("a bucket and what all keys begin with are read from the URL", () => {
  assert.deepEqual(parseS3Url("s3://lake"), { bucket: "lake", root: "" });
  assert.deepEqual(parseS3Url("s3://lake/"), { bucket: "lake", root: "" });
  assert.deepEqual(parseS3Url("s3://my.lake/a/env=b/"), { bucket: "my.lake", root: "a/env=b/" });
  for (
    const url of [
      "s3://",
      "s3://a",
      "s3://Lake",
      "s3://lake//a",
      "s3://lake/a b",
      "s3://lake/%41",
      "s3://lake?x",
      "lake",
    ]
  ) {
    assert.equal(parseS3Url(url), null, url);
  }
});

Deno.test("requests go where the store expects the bucket: in the host's name at Amazon, in the path elsewhere, or as told", () => {
  assert.equal(baseUrl(AWS, "lake"), "https://lake.s3.eu-central-1.amazonaws.com/");
  assert.equal(baseUrl({ ...AWS, region: "cn-north-1" }, "lake"), "https://lake.s3.cn-north-1.amazonaws.com.cn/");
  assert.equal(baseUrl(AWS, "my.lake"), "https://s3.eu-central-1.amazonaws.com/my.lake/");
  assert.equal(baseUrl({ ...AWS, pathStyle: true }, "lake"), "https://s3.eu-central-1.amazonaws.com/lake/");
  const own = { ...AWS, endpoint: "http://store.example:9000" };
  assert.equal(baseUrl(own, "lake"), "http://store.example:9000/lake/");
  assert.equal(baseUrl({ ...own, pathStyle: false }, "lake"), "http://lake.store.example:9000/");
});
