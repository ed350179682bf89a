"""Reads Delta tables with delta-rs, and with DuckDB over the files that delta-rs names.

The argument is a JSON file: a list of {"table": folder, "version": number or null, "by": "delta-rs" or "duckdb", "out": file}.
Each `out` gets a line with {"version", "rows"} and then a line per row: a JSON object with a value for each column, as read_tables.ts
says.
"""

import datetime
import decimal
import json
import math
import os
import sys

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def canonical(value):
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        since = value - EPOCH
        return str((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, list):
        return [canonical(item) for item in value]
    if isinstance(value, dict):
        return {name: canonical(item) for name, item in value.items()}
    raise TypeError(f"{type(value)} is not expected")


def by_delta_rs(table):
    return table.to_pyarrow_table()


def by_duckdb(table):
    """Each file by itself, with the columns of its partition added: these are in the log only."""
    actions = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    names = [field.name for field in table.schema().fields]
    columns = table.metadata().partition_columns
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    if not actions:
        return None
    # Gives every column its type, also one that no file has yet.
    connection.register("none", pa.schema(table.schema().to_arrow()).empty_table())
    parts = ["FROM none"]
    for action in actions:
        path = f"{table.table_uri.removeprefix('file://').rstrip('/')}/{action['path']}".replace("'", "''")
        added = "".join(
            f", {'NULL' if action['partition.' + name] is None else repr(str(action['partition.' + name]))}::DATE AS {name}"
            for name in columns
        )
        parts.append(f"SELECT *{added} FROM read_parquet('{path}', hive_partitioning = false)")
    selected = ", ".join(f'"{name}"' for name in names)
    return connection.sql(f"SELECT {selected} FROM ({' UNION ALL BY NAME '.join(parts)})").to_arrow_table()


def main():
    readers = {"delta-rs": by_delta_rs, "duckdb": by_duckdb}
    with open(sys.argv[1]) as file:
        questions = json.load(file)
    for question in questions:
        table = DeltaTable(question["table"], version=question["version"])
        rows = readers[question["by"]](table)
        with open(question["out"], "w") as out:
            count = 0 if rows is None else rows.num_rows
            out.write(json.dumps({"version": table.version(), "rows": count}) + "\n")
            for row in [] if rows is None else rows.to_pylist():
                out.write(json.dumps({name: canonical(value) for name, value in row.items()}) + "\n")


main()
sys.stdout.flush()
# Threads of the libraries that outlive the interpreter abort the process now and then, after all is written.
os._exit(0)
