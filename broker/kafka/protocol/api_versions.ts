/**
 * ApiVersions: which requests are understood, in which versions. Always the first request of a client.
 *
 *     request v0-4                           response
 *       software_name string     v3+           error int16
 *       software_version string  v3+           [apis] key int16, min int16, max int16
 *                                              throttle_ms int32  v1+
 *
 * A client that asks in a newer version is answered in version 0 with UNSUPPORTED_VERSION and the list, and asks again (KIP-511).
 *
 * @module
 */
import type { Api } from "./api.ts";
import { ErrorCode } from "./errors.ts";
import type { ResponseWriter } from "./fields.ts";

export function apiVersions(table: () => Iterable<Api>): Api {
  return {
    key: 18,
    name: "ApiVersions",
    minVersion: 0,
    maxVersion: 4,
    flexibleFrom: 3,

    handle(_broker, { version }, response) {
      response.int16(ErrorCode.none);
      writeApis(table(), response);
      if (version >= 1) response.int32(0);
      response.done();
    },
  };
}

/** The answer to a version that is not known, in the layout of version 0. */
export function writeDowngrade(table: Iterable<Api>, response: ResponseWriter): void {
  response.flexible = false;
  response.int16(ErrorCode.unsupportedVersion);
  writeApis(table, response);
}

function writeApis(table: Iterable<Api>, response: ResponseWriter): void {
  response.list([...table], (api) => {
    response.int16(api.key).int16(api.minVersion).int16(api.maxVersion).done();
  });
}
