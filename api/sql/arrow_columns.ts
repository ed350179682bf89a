/**
 * Columns of DuckDB values as Arrow data, laid out directly: the library's builders take milliseconds where Arrow has microseconds.
 *
 * What Arrow has no like of (INTERVAL, UUID, ENUM, UNION, BIT, whole numbers beyond 128 bits with a sign) is text.
 *
 * @module
 */
import {
  Binary,
  Bool,
  type Data,
  type DataType,
  DateDay,
  Decimal,
  Field,
  Float32,
  Float64,
  Int16,
  Int32,
  Int64,
  Int8,
  List,
  makeData,
  Map_,
  Struct,
  TimeMicrosecond,
  TimestampMicrosecond,
  TimestampMillisecond,
  TimestampNanosecond,
  TimestampSecond,
  Uint16,
  Uint32,
  Uint64,
  Uint8,
  Utf8,
} from "apache-arrow";
import {
  type DuckDBArrayType,
  type DuckDBArrayValue,
  type DuckDBBlobValue,
  type DuckDBDateValue,
  type DuckDBDecimalType,
  type DuckDBDecimalValue,
  type DuckDBListType,
  type DuckDBListValue,
  type DuckDBMapType,
  type DuckDBMapValue,
  type DuckDBStructType,
  type DuckDBStructValue,
  type DuckDBTimestampMillisecondsValue,
  type DuckDBTimestampNanosecondsValue,
  type DuckDBTimestampSecondsValue,
  type DuckDBTimestampTZValue,
  type DuckDBTimestampValue,
  type DuckDBTimeValue,
  type DuckDBType,
  DuckDBTypeId,
  type DuckDBValue,
} from "@duckdb/node-api";
import { textOf } from "./value_text.ts";

export interface ArrowColumn {
  readonly type: DataType;
  data(values: readonly DuckDBValue[]): Data;
}

const WIDTH_MAX = 38;

/** How columns of a type are laid out. */
export function arrowColumn(type: DuckDBType): ArrowColumn {
  switch (type.typeId) {
    case DuckDBTypeId.BOOLEAN:
      return { type: new Bool(), data: (values) => boolData(values) };
    case DuckDBTypeId.TINYINT:
      return fixed(new Int8(), Int8Array, (value) => value as number);
    case DuckDBTypeId.SMALLINT:
      return fixed(new Int16(), Int16Array, (value) => value as number);
    case DuckDBTypeId.INTEGER:
      return fixed(new Int32(), Int32Array, (value) => value as number);
    case DuckDBTypeId.BIGINT:
      return fixed64(new Int64(), (value) => value as bigint);
    case DuckDBTypeId.UTINYINT:
      return fixed(new Uint8(), Uint8Array, (value) => value as number);
    case DuckDBTypeId.USMALLINT:
      return fixed(new Uint16(), Uint16Array, (value) => value as number);
    case DuckDBTypeId.UINTEGER:
      return fixed(new Uint32(), Uint32Array, (value) => value as number);
    case DuckDBTypeId.UBIGINT:
      return fixed64(new Uint64(), (value) => value as bigint, BigUint64Array);
    case DuckDBTypeId.FLOAT:
      return fixed(new Float32(), Float32Array, (value) => value as number);
    case DuckDBTypeId.DOUBLE:
      return fixed(new Float64(), Float64Array, (value) => value as number);
    case DuckDBTypeId.HUGEINT:
      return decimal(new Decimal(0, WIDTH_MAX), (value) => value as bigint);
    case DuckDBTypeId.DECIMAL: {
      const { width, scale } = type as DuckDBDecimalType;
      return decimal(new Decimal(scale, width), (value) => (value as DuckDBDecimalValue).value);
    }
    case DuckDBTypeId.DATE:
      return fixed(new DateDay(), Int32Array, (value) => (value as DuckDBDateValue).days);
    case DuckDBTypeId.TIME:
      return fixed64(new TimeMicrosecond(), (value) => (value as DuckDBTimeValue).micros);
    case DuckDBTypeId.TIMESTAMP:
      return fixed64(new TimestampMicrosecond(), (value) => (value as DuckDBTimestampValue).micros);
    case DuckDBTypeId.TIMESTAMP_TZ:
      return fixed64(new TimestampMicrosecond("UTC"), (value) => (value as DuckDBTimestampTZValue).micros);
    case DuckDBTypeId.TIMESTAMP_S:
      return fixed64(new TimestampSecond(), (value) => (value as DuckDBTimestampSecondsValue).seconds);
    case DuckDBTypeId.TIMESTAMP_MS:
      return fixed64(new TimestampMillisecond(), (value) => (value as DuckDBTimestampMillisecondsValue).millis);
    case DuckDBTypeId.TIMESTAMP_NS:
      return fixed64(new TimestampNanosecond(), (value) => (value as DuckDBTimestampNanosecondsValue).nanos);
    case DuckDBTypeId.BLOB:
      return bytes(new Binary(), (value) => (value as DuckDBBlobValue).bytes);
    case DuckDBTypeId.LIST:
    case DuckDBTypeId.ARRAY:
      return list(arrowColumn((type as DuckDBListType | DuckDBArrayType).valueType));
    case DuckDBTypeId.STRUCT:
      return struct(type as DuckDBStructType);
    case DuckDBTypeId.MAP:
      return map(type as DuckDBMapType);
    default:
      return text();
  }
}

/** A bit for each value that is there, from the lowest. */
function validity(values: readonly unknown[]): { readonly nullBitmap: Uint8Array; readonly nullCount: number } {
  const nullBitmap = new Uint8Array((values.length + 7) >> 3);
  let nullCount = 0;
  for (let i = 0; i < values.length; i++) {
    if (isNull(values[i])) nullCount++;
    else nullBitmap[i >> 3] |= 1 << (i & 7);
  }
  return { nullBitmap, nullCount };
}

function isNull(value: unknown): value is null | undefined {
  return value === null || value === undefined;
}

/** The library types each kind of data by itself; what is generic here is checked by reading it back in the tests. */
function made(type: DataType, values: readonly unknown[], parts: Record<string, unknown>): Data {
  const props = { type, length: values.length, ...validity(values), ...parts };
  return makeData(props as unknown as Parameters<typeof makeData>[0]) as Data;
}

function boolData(values: readonly DuckDBValue[]): Data {
  const data = new Uint8Array((values.length + 7) >> 3);
  for (let i = 0; i < values.length; i++) if (values[i] === true) data[i >> 3] |= 1 << (i & 7);
  return made(new Bool(), values, { data });
}

type NumberArray =
  | Int8Array
  | Int16Array
  | Int32Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | Float32Array
  | Float64Array;

function fixed(
  type: DataType,
  Values: new (length: number) => NumberArray,
  of: (value: DuckDBValue) => number,
): ArrowColumn {
  return {
    type,
    data(values) {
      const data = new Values(values.length);
      for (let i = 0; i < values.length; i++) if (!isNull(values[i])) data[i] = of(values[i]);
      return made(type, values, { data });
    },
  };
}

function fixed64(
  type: DataType,
  of: (value: DuckDBValue) => bigint,
  Values: new (length: number) => BigInt64Array | BigUint64Array = BigInt64Array,
): ArrowColumn {
  return {
    type,
    data(values) {
      const data = new Values(values.length);
      for (let i = 0; i < values.length; i++) if (!isNull(values[i])) data[i] = of(values[i]);
      return made(type, values, { data });
    },
  };
}

/** 128 bits in two's complement, the lower word first. */
function decimal(type: Decimal, of: (value: DuckDBValue) => bigint): ArrowColumn {
  return {
    type,
    data(values) {
      const words = new BigInt64Array(values.length * 2);
      for (let i = 0; i < values.length; i++) {
        if (isNull(values[i])) continue;
        const value = of(values[i]);
        words[2 * i] = BigInt.asIntN(64, value);
        words[2 * i + 1] = BigInt.asIntN(64, value >> 64n);
      }
      return made(type, values, { data: new Uint32Array(words.buffer) });
    },
  };
}

function text(): ArrowColumn {
  const encoder = new TextEncoder();
  return bytes(new Utf8(), (value) => encoder.encode(textOf(value)!));
}

function bytes(type: DataType, of: (value: DuckDBValue) => Uint8Array): ArrowColumn {
  return {
    type,
    data(values) {
      const pieces = values.map((value) => isNull(value) ? null : of(value));
      const valueOffsets = new Int32Array(values.length + 1);
      for (let i = 0; i < pieces.length; i++) valueOffsets[i + 1] = valueOffsets[i] + (pieces[i]?.length ?? 0);
      const data = new Uint8Array(valueOffsets[pieces.length]);
      for (let i = 0; i < pieces.length; i++) if (pieces[i]) data.set(pieces[i]!, valueOffsets[i]);
      return made(type, values, { valueOffsets, data });
    },
  };
}

/** Items one after the other, and where those of each value end. */
function spread<T>(values: readonly DuckDBValue[], itemsOf: (value: DuckDBValue) => readonly T[]) {
  const valueOffsets = new Int32Array(values.length + 1);
  const items: T[] = [];
  for (let i = 0; i < values.length; i++) {
    if (!isNull(values[i])) { for (const item of itemsOf(values[i])) items.push(item); }
    valueOffsets[i + 1] = items.length;
  }
  return { valueOffsets, items };
}

function list(item: ArrowColumn): ArrowColumn {
  const type = new List(new Field("item", item.type, true));
  return {
    type,
    data(values) {
      const { valueOffsets, items } = spread(values, (value) => (value as DuckDBListValue | DuckDBArrayValue).items);
      return made(type, values, { valueOffsets, child: item.data(items) });
    },
  };
}

function struct({ entryNames, entryTypes }: DuckDBStructType): ArrowColumn {
  const columns = entryTypes.map(arrowColumn);
  const type = new Struct(entryNames.map((name, i) => new Field(name, columns[i].type, true)));
  return {
    type,
    data(values) {
      const children = columns.map((column, i) =>
        column.data(values.map((value) => isNull(value) ? null : (value as DuckDBStructValue).entries[entryNames[i]]))
      );
      return made(type, values, { children });
    },
  };
}

function map({ keyType, valueType }: DuckDBMapType): ArrowColumn {
  const [key, value] = [arrowColumn(keyType), arrowColumn(valueType)];
  const entry = new Struct<{ key: DataType; value: DataType }>([
    new Field("key", key.type, false),
    new Field("value", value.type, true),
  ]);
  const type = new Map_(new Field("entries", entry, false));
  return {
    type,
    data(values) {
      const { valueOffsets, items } = spread(values, (one) => (one as DuckDBMapValue).entries);
      const child = made(entry, items, {
        children: [key.data(items.map((one) => one.key)), value.data(items.map((one) => one.value))],
      });
      return made(type, values, { valueOffsets, child });
    },
  };
}
