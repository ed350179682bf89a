import { ask, type BrokerConnection } from "./connection.ts";
import { kafkaError } from "./kafka_errors.ts";

const API_VERSIONS = 18;

const asked = new WeakMap<BrokerConnection, Promise<ReadonlyMap<number, number>>>();

/**
 * The newest version of a request that the broker understands, -1 for a request it does not know. The broker is asked once per
 * connection (ApiVersions, version 0).
 *
 *     request   nothing          response  error int16, [requests] key int16, oldest int16, newest int16
 *
 * @throws UnavailableError when the connection is lost
 */
export async function newestVersion(connection: BrokerConnection, apiKey: number): Promise<number> {
  let versions = asked.get(connection);
  if (!versions) {
    asked.set(connection, versions = askVersions(connection));
    versions.catch(() => asked.delete(connection));
  }
  return (await versions).get(apiKey) ?? -1;
}

async function askVersions(connection: BrokerConnection): Promise<ReadonlyMap<number, number>> {
  return await ask(connection, { apiKey: API_VERSIONS, version: 0, body: () => {} }, (reader) => {
    const error = kafkaError(reader.int16(), "to say which requests it understands");
    if (error) throw error;
    const versions = new Map<number, number>();
    for (let i = reader.arrayLength(6); i > 0; i--) {
      const key = reader.int16();
      reader.int16();
      versions.set(key, reader.int16());
    }
    return versions;
  });
}
