"""Appends values of a log to a new Delta table with delta-rs: python append_log_delta_rs.py TARGET SCHEMA VALUES APPENDS

SCHEMA is a file with the Avro schema; VALUES has Avro in Confluent's framing, each value behind its length:

    length, int32 big-endian | 0x00 | schema id, int32 big-endian | Avro

The values are in memory as a consumer hands them over, one bytes object each, before the time begins. Each append decodes all of them
anew. Prints {"rows", "seconds", "cpu_seconds", "decode_seconds"}; the last is the part of the seconds in which Arrow batches were made of values.
"""

import io
import json
import struct
import sys
import time

import fastavro
import pyarrow as pa
from deltalake import WriterProperties, write_deltalake

FRAME_BYTES = 5
ROWS_PER_BATCH = 65_536
TIMES = {"timestamp-millis": "ms", "timestamp-micros": "us"}
TYPES = {"long": pa.int64(), "double": pa.float64(), "string": pa.string()}


def columns_of(schema):
    """Name, type in the log and type in the table of each field; and the schema with times as numbers, of which no objects are made."""
    columns, plain = [], []
    for field in schema["fields"]:
        kind = field["type"]
        if isinstance(kind, dict):
            columns.append((field["name"], pa.timestamp(TIMES[kind["logicalType"]], "UTC"), pa.timestamp("us", "UTC")))
            kind = kind["type"]
        else:
            columns.append((field["name"], TYPES[kind], TYPES[kind]))
        plain.append({"name": field["name"], "type": kind})
    return columns, fastavro.parse_schema({**schema, "fields": plain})


def values_of(data):
    values, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from(">i", data, at)
        values.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return values


def decode(values, writer):
    read, stream = fastavro.schemaless_reader, io.BytesIO
    records = []
    for value in values:
        if value[0] != 0:
            raise ValueError("the value does not start with a schema id")
        opened = stream(value)
        opened.seek(FRAME_BYTES)
        records.append(read(opened, writer))
    return records


def batch_of(records, columns, schema):
    arrays = []
    for name, kind, stored in columns:
        cells = [record[name] for record in records]
        if pa.types.is_timestamp(kind):
            arrays.append(pa.array(cells, pa.int64()).cast(kind).cast(stored))
        else:
            arrays.append(pa.array(cells, kind))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


class Batches:
    """Batches made while delta-rs asks for them, so that it writes meanwhile; and how long making them took."""

    def __init__(self, values, columns, writer, schema):
        self.values, self.columns, self.writer, self.schema = values, columns, writer, schema
        self.seconds = 0.0

    def __iter__(self):
        for first in range(0, len(self.values), ROWS_PER_BATCH):
            began = time.perf_counter()
            records = decode(self.values[first : first + ROWS_PER_BATCH], self.writer)
            batch = batch_of(records, self.columns, self.schema)
            self.seconds += time.perf_counter() - began
            yield batch


target, schema_file, values_file, appends = sys.argv[1:]
with open(schema_file) as file:
    columns, writer = columns_of(json.load(file))
with open(values_file, "rb") as file:
    values = values_of(file.read())
schema = pa.schema([(name, stored) for name, _, stored in columns])
decode_seconds = 0.0
cpu = time.process_time()
began = time.perf_counter()
for _ in range(int(appends)):
    batches = Batches(values, columns, writer, schema)
    write_deltalake(
        target,
        pa.RecordBatchReader.from_batches(schema, batches),
        mode="append",
        writer_properties=WriterProperties(compression="ZSTD"),
    )
    decode_seconds += batches.seconds
seconds = time.perf_counter() - began
cpu = time.process_time() - cpu
rows = int(appends) * len(values)
print(json.dumps({"rows": rows, "seconds": seconds, "cpu_seconds": cpu, "decode_seconds": decode_seconds}))
