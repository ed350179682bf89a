"""Appends rows to a new Delta table with delta-rs: python append_delta_rs.py COMPRESSION TARGET PARTITION_COLUMN FILE...

Each Parquet file is read into memory as Arrow batches beforehand, and is one append. Prints {"rows", "seconds", "cpu_seconds"} of the appends.
"""

import json
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import WriterProperties, write_deltalake

compression, target, partition, *files = sys.argv[1:]
tables = [pq.read_table(file, partitioning=None) for file in files]
batches = [(table.schema, table.to_batches(65_536)) for table in tables]
cpu = time.process_time()
began = time.perf_counter()
for schema, parts in batches:
    write_deltalake(
        target,
        pa.RecordBatchReader.from_batches(schema, parts),
        mode="append",
        partition_by=[partition] if partition else None,
        writer_properties=WriterProperties(compression=compression),
    )
seconds = time.perf_counter() - began
cpu = time.process_time() - cpu
print(json.dumps({"rows": sum(table.num_rows for table in tables), "seconds": seconds, "cpu_seconds": cpu}))
