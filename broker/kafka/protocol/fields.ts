import { WireReader, WireWriter } from "../../../pipeline/log/wire.ts";

/** Reads the fields of a request; in a flexible version strings, byte fields and arrays are the compact ones. */
export class RequestReader extends WireReader {
  flexible = false;

  text(): string {
    return this.flexible ? this.compactString() : this.string();
  }

  nullableText(): string | null {
    return this.flexible ? this.compactNullableString() : this.nullableString();
  }

  /** A view of the bytes: copy it when it must outlive the request. */
  blob(): Uint8Array {
    return this.flexible ? this.compactBytes() : this.bytes();
  }

  nullableBlob(): Uint8Array | null {
    return this.flexible ? this.compactNullableBytes() : this.nullableBytes();
  }

  list<Item>(read: () => Item): Item[] {
    return this.nullableList(read) ?? [];
  }

  nullableList<Item>(read: () => Item): Item[] | null {
    const length = this.flexible ? this.compactArrayLength() : this.arrayLength();
    if (length < 0) return null;
    const items: Item[] = [];
    for (let index = 0; index < length; index++) items.push(read());
    return items;
  }

  /** The end of a structure: the tagged fields of a flexible version, all of them optional and not needed here. */
  done(): void {
    if (this.flexible) this.skipTaggedFields();
  }
}

/** Writes the fields of a response, compact in a flexible version. */
export class ResponseWriter extends WireWriter {
  flexible = false;

  text(value: string | null): this {
    return this.flexible ? this.compactString(value) : this.string(value);
  }

  blob(value: Uint8Array | null): this {
    return this.flexible ? this.compactByteField(value) : this.byteField(value);
  }

  list<Item>(
    items: Iterable<Item> & ({ readonly length: number } | { readonly size: number }),
    write: (item: Item) => void,
  ): this {
    const length = "length" in items ? items.length : items.size;
    this.listLength(length);
    for (const item of items) write(item);
    return this;
  }

  listLength(length: number): this {
    return this.flexible ? this.compactArrayLength(length) : this.arrayLength(length);
  }

  /** The end of a structure: no tagged fields in a flexible version, nothing otherwise. */
  done(): this {
    return this.flexible ? this.noTaggedFields() : this;
  }
}
