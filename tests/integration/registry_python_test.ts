import assert from "node:assert/strict";
import { join } from "node:path";
import { startRegistry } from "../../broker/registry/mod.ts";
import { createRegistryClient } from "../../pipeline/log/registry_client.ts";
import { pythonProgram, whyNoPython } from "../servers/python.ts";
import { CONFLUENT } from "../servers/python_sets.ts";

const SCRIPT = `
import json, sys
from confluent_kafka.schema_registry import SchemaRegistryClient, Schema
from confluent_kafka.schema_registry.avro import AvroSerializer, AvroDeserializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import SerializationContext, MessageField

client = SchemaRegistryClient({"url": sys.argv[1]})
text = json.dumps({"type": "record", "name": "Thing", "namespace": "test", "fields": [
    {"name": "id", "type": "long"}, {"name": "name", "type": ["null", "string"], "default": None}]})
context = SerializationContext("things", MessageField.VALUE)
serializer = AvroSerializer(client, text)
framed = serializer({"id": 7, "name": "seven"}, context)
out = {"framed": framed.hex()}
fresh = SchemaRegistryClient({"url": sys.argv[1]})
out["read"] = AvroDeserializer(fresh)(framed, context)
latest = AvroSerializer(fresh, text, conf={"auto.register.schemas": False, "use.latest.version": True})
out["latest"] = latest({"id": 8, "name": None}, context).hex()
normalized = AvroSerializer(fresh, text, conf={"auto.register.schemas": True, "normalize.schemas": True})
out["normalized"] = normalized({"id": 9, "name": None}, context).hex()
out["subjects"] = fresh.get_subjects()
out["versions"] = fresh.get_versions("things-value")
out["found"] = fresh.lookup_schema("things-value", Schema(text, "AVRO")).version
worse = Schema(json.dumps({"type": "record", "name": "Thing", "namespace": "test", "fields": [
    {"name": "id", "type": "string"}]}), "AVRO")
out["compatible"] = fresh.test_compatibility("things-value", worse)
try:
    fresh.register_schema("things-value", worse)
except SchemaRegistryError as error:
    out["refused"] = [error.http_status_code, error.error_code]
fresh.set_compatibility("things-value", "NONE")
out["level"] = fresh.get_compatibility("things-value")
out["deleted"] = [fresh.delete_subject("things-value"), fresh.delete_subject("things-value", permanent=True), fresh.get_subjects()]
print(json.dumps(out))
`;

Deno.test("Python's confluent-kafka serializes, reads back, looks up, is refused and deletes as with Confluent's registry", async (t) => {
  const folder = await Deno.makeTempDir({ prefix: "tailrace-python-" });
  try {
    const why = await whyNoPython(CONFLUENT);
    if (why !== null) console.log(`skipped: ${why}`);
    await t.step({
      name: "confluent-kafka",
      ignore: why !== null,
      async fn() {
        await using server = await startRegistry({ host: "127.0.0.1", port: 0, dataDir: join(folder, "registry") });
        const program = await pythonProgram(CONFLUENT, "python");
        const { stdout, stderr } = await new Deno.Command(program, { args: ["-c", SCRIPT, server.url] }).output();
        const text = new TextDecoder().decode(stdout);
        assert.notEqual(text, "", new TextDecoder().decode(stderr));
        const { framed, latest, normalized, deleted, ...rest } = JSON.parse(text);
        assert.deepEqual(rest, {
          read: { id: 7, name: "seven" },
          subjects: ["things-value"],
          versions: [1],
          found: 1,
          compatible: false,
          refused: [409, 409],
          level: "NONE",
        });
        assert.equal(framed, "00000000010e020a736576656e");
        assert.deepEqual([latest, normalized], ["00000000011000", "00000000011200"]);
        assert.deepEqual(deleted, [[1], [1], []]);
        assert.equal(await createRegistryClient({ url: server.url }).schemaById(1), null);
      },
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
