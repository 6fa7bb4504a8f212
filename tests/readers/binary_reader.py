"""A reader of the binary format, written from lib/store/FORMAT.md alone and sharing no code with the
library: the two agreeing on a file says that the page is right and complete. Needs the packages
zstandard and xxhash. Slow and simple on purpose.

    python3 binary_reader.py FILE      prints what is in it, one row a line
"""
import struct
import sys

import xxhash
import zstandard

FILE_MAGIC = bytes.fromhex("89 46 50 42 0D 0A 1A 0A")
BLOCK_MAGIC = bytes.fromhex("8F 46 50 42 4C 4F 43 4B")
TRAILER_MAGIC = bytes.fromhex("8F 46 50 42 45 4E 44 0A")
MASK = 2**64 - 1
PAGE_ROWS = 1024
STATUSES = {1: "ok", 2: "skipped", 3: "failed", 4: "timeout", 5: "crashed"}
LAYOUTS = {1: "constant", 2: "raw", 3: "packed", 4: "delta", 5: "zstd", 6: "planes", 7: "split"}
TRANSFORMS = {0: "none", 1: "decimal", 2: "sparse", 3: "ratio"}


class Corrupt(Exception):
    """Bytes that fail their checks."""


def require(condition, what):
    if not condition:
        raise Corrupt(what)


def checksum(data):
    return xxhash.xxh3_64_intdigest(data)


class Bytes:
    """A cursor over bytes."""

    def __init__(self, data, at=0):
        self.data = data
        self.at = at

    def take(self, n):
        require(self.at + n <= len(self.data), "bytes end early")
        self.at += n
        return self.data[self.at - n : self.at]

    def number(self, layout):
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))[0]

    def rest(self):
        return self.take(len(self.data) - self.at)


# ------------------------------------------------------------------ encodings


def unzstd(frame, size):
    content = zstandard.ZstdDecompressor().decompress(frame)
    require(len(content) == size, "zstd content of another size")
    return content


def bit_fields(data, n, width):
    """n fields of `width` bits each."""
    bits = int.from_bytes(data, "little")
    mask = (1 << width) - 1
    return [(bits >> (i * width)) & mask for i in range(n)]


def set_bits(bitmap, n):
    return [i for i in range(n) if bitmap[i // 8] >> (i % 8) & 1]


def read_exceptions(b, n):
    count = b.number("H")
    if count == 0:
        return {}
    width = b.number("B")
    bitmap_bytes = (n + 7) // 8
    if 2 * count <= bitmap_bytes:
        positions = [b.number("H") for _ in range(count)]
    else:
        positions = set_bits(b.take(bitmap_bytes), n)
    require(len(positions) == count and positions[-1] < n, "exception positions")
    if width == 0:
        values = [b.number("Q")] * count
    else:
        values = [int.from_bytes(b.take(width), "little") for _ in range(count)]
    return dict(zip(positions, values))


def unzigzag(x):
    return x // 2 if x % 2 == 0 else -(x + 1) // 2


def read_packed(b, n):
    first = b.number("B")
    width = first & 127
    base = b.number("Q")
    step = b.number("Q") if first & 128 else 1
    exceptions = read_exceptions(b, n)
    offsets = bit_fields(b.take((n * width + 7) // 8), n, width)
    words = [(base + step * offset) & MASK for offset in offsets]
    for i, value in exceptions.items():
        words[i] = (base + unzigzag(value)) & MASK
    return words


def read_delta(b, n):
    words = [b.number("Q")]
    if n > 1:
        for difference in read_packed(b, n - 1):
            words.append((words[-1] + difference) & MASK)
    return words


def read_planes(b, n):
    kinds = [b.number("B") for _ in range(8)]
    lengths = [b.number("H") if kind == 2 else 0 for kind in kinds]
    planes = []
    for kind, length in zip(kinds, lengths):
        if kind == 0:
            planes.append(b.take(1) * n)
        elif kind == 1:
            planes.append(b.take(n))
        else:
            require(kind == 2, "kind of a plane")
            planes.append(unzstd(b.take(length), n))
    return [int.from_bytes(bytes(plane[i] for plane in planes), "little") for i in range(n)]


def read_split(b, n):
    low_bits, dropped, code_bits, last_entry = (b.number("B") for _ in range(4))
    dictionary = [b.number("H") for _ in range(last_entry + 1)]
    exceptions = read_exceptions(b, n)
    right_bits = low_bits - dropped
    width = code_bits + right_bits
    words = []
    for i, value in enumerate(bit_fields(b.take((n * width + 7) // 8), n, width)):
        code = value >> right_bits
        right = value & ((1 << right_bits) - 1)
        left = exceptions[i] if i in exceptions else dictionary[code]
        words.append((left << low_bits | right << dropped) & MASK)
    return words


def read_layout(b, layout, n):
    if layout == 1:
        return [b.number("Q")] * n
    if layout == 2:
        return list(struct.unpack(f"<{n}Q", b.take(8 * n)))
    if layout == 5:
        return list(struct.unpack(f"<{n}Q", unzstd(b.rest(), 8 * n)))
    readers = {3: read_packed, 4: read_delta, 6: read_planes, 7: read_split}
    require(layout in readers, f"layout {layout}")
    return readers[layout](b, n)


def read_decimal(b, layout, n):
    exponent = b.number("B")
    exceptions = read_exceptions(b, n)
    words = []
    for i, word in enumerate(read_layout(b, layout, n)):
        integer = word - 2**64 if word >> 63 else word
        quotient = float(integer) / float(10**exponent)
        words.append(struct.unpack("<Q", struct.pack("<d", quotient))[0])
    for i, value in exceptions.items():
        words[i] = value
    return words


def read_sparse(b, layout, n):
    common = b.number("Q")
    places = set(set_bits(b.take((n + 7) // 8), n))
    others = iter(read_layout(b, layout, n - len(places)))
    return [common if i in places else next(others) for i in range(n)]


def read_ratio(b, layout, n):
    noise_bits, whole, own_layout = (b.number("B") for _ in range(3))
    own_bytes = b.number("I")
    require(noise_bits <= 3 and whole <= 1, "noise bits or whole")
    exceptions = read_exceptions(b, n)
    own = Bytes(b.take(own_bytes))
    denominators = read_layout(own, own_layout, n)
    require(own.at == own_bytes, "bytes left over behind the denominators")
    require(all(1 <= denominator <= 2**32 for denominator in denominators), "denominators")
    words = []
    for numerator, denominator in zip(read_layout(b, layout, n), denominators):
        require(numerator < 2**48, "numerators")
        quotient = float(unzigzag(numerator >> noise_bits) + whole * denominator) / float(denominator)
        word = struct.unpack("<Q", struct.pack("<d", quotient))[0]
        words.append((word + unzigzag(numerator & ((1 << noise_bits) - 1))) & MASK)
    for i, value in exceptions.items():
        words[i] = value
    return words


def decode_words(encoding, data, n):
    b = Bytes(data)
    layout, transform = encoding % 16, encoding // 16
    require(transform in TRANSFORMS, f"transform {transform}")
    if transform == 1:
        words = read_decimal(b, layout, n)
    elif transform == 2:
        words = read_sparse(b, layout, n)
    elif transform == 3:
        words = read_ratio(b, layout, n)
    else:
        words = read_layout(b, layout, n)
    require(b.at == len(data), "bytes left over in a chunk")
    return words


def decode_texts(data, n):
    b = Bytes(data)
    kind = b.number("B")
    require(kind in (0, 1), "kind of a text page")
    content = b.rest()
    if kind == 1:
        content = zstandard.ZstdDecompressor().decompress(content)
    c = Bytes(content)
    lengths = [c.number("H") for _ in range(n)]
    texts = [c.take(length).decode() for length in lengths]
    require(c.at == len(content), "bytes left over in a text page")
    return texts


def signed(word, bits=64):
    return word - 2**64 if word >> 63 else word


# ------------------------------------------------------------------ blocks


class Block:
    """A block whose header is good."""

    def __init__(self, backup, at):
        data = backup.data
        header = Bytes(data, at)
        require(header.take(8) == BLOCK_MAGIC, "magic")
        stored = header.number("Q")
        self.header_length = header.number("I")
        require(170 <= self.header_length <= 744, "header length")
        require(at + self.header_length <= len(data), "header is cut off")
        require(checksum(data[at + 16 : at + self.header_length]) == stored, "header checksum")
        self.at = at
        self.kind, self.flags, first_length, last_length = (header.number("B") for _ in range(4))
        self.length, offset, self.sequence, self.durable_end = (header.number("Q") for _ in range(4))
        require(offset == at, "offset")
        require(header.take(8) == backup.file_id[:8], "file id")
        self.n_rows, self.n_pages, self.n_columns, page_rows = (header.number("I") for _ in range(4))
        self.dates = (header.number("q"), header.number("q"))
        self.timestamps = (header.number("q"), header.number("q"))
        self.rows_by_status = [header.number("I") for _ in range(6)]
        self.n_codes, self.dictionary_length = header.number("I"), header.number("I")
        self.dictionary_checksum, self.directory_checksum = header.number("Q"), header.number("Q")
        self.directory_length = header.number("I")
        require(header.number("I") == 0, "reserved field")
        self.first_code = header.take(first_length).decode()
        require(header.take(1) == b"\0", "NUL")
        self.last_code = header.take(last_length).decode()
        require(header.take(1) == b"\0", "NUL")
        padding = data[header.at : at + self.header_length]
        require(len(padding) < 64 and not any(padding), "padding")
        require(self.length % 64 == 0, "block length")
        if self.kind != 3:
            require(page_rows == PAGE_ROWS, "page rows")
            require(self.n_pages == -(-self.n_rows // PAGE_ROWS), "number of pages")
            columns = 3 + len(backup.factors) if self.kind == 1 else 6
            require(self.n_columns == columns, "number of columns")
        self.data = data
        self.is_whole = at + self.length <= len(data)

    def part(self, at, length, stored, what):
        data = self.data[at : at + length]
        require(len(data) == length and checksum(data) == stored, what)
        return data

    def directory(self):
        at = self.at + self.header_length
        return self.part(at, self.directory_length, self.directory_checksum, "directory")

    def dictionary(self):
        at = self.at + self.header_length + self.directory_length
        data = self.part(at, self.dictionary_length, self.dictionary_checksum, "dictionary")
        codes = decode_texts(data, self.n_codes)
        require(codes == sorted(set(codes), key=str.encode), "order of the dictionary")
        require((codes[0], codes[-1]) == (self.first_code, self.last_code), "first and last code")
        return codes

    def chunks(self):
        """For each column, for each page: (encoding, bytes), all checked."""
        entries = Bytes(self.directory(), 32 * self.n_pages)
        at = self.at + self.header_length + self.directory_length + self.dictionary_length
        columns = []
        for _ in range(self.n_columns):
            pages = []
            for _ in range(self.n_pages):
                stored, length, encoding = (entries.number(kind) for kind in "QIB")
                require(entries.take(3) == b"\0\0\0", "chunk entry")
                pages.append((encoding, self.part(at, length, stored, "chunk")))
                at += length
            columns.append(pages)
        require(at == self.at + self.length, "end of the chunks")
        return columns

    def page_sizes(self):
        last = self.n_rows - (self.n_pages - 1) * PAGE_ROWS
        return [PAGE_ROWS] * (self.n_pages - 1) + [last]

    def rows(self):
        """(date, code, timestamp, status, failure code, message, words of the factors) a row."""
        codes = self.dictionary()
        columns = []
        for number, pages in enumerate(self.chunks()):
            values = []
            for (encoding, data), n in zip(pages, self.page_sizes()):
                if self.kind == 2 and number == 5:
                    require(encoding == 0, "encoding of texts")
                    values += decode_texts(data, n)
                else:
                    values += decode_words(encoding, data, n)
            columns.append(values)
        for i in range(self.n_rows):
            date, code, timestamp = signed(columns[0][i]), codes[columns[1][i]], signed(columns[2][i])
            require(self.dates[0] <= date <= self.dates[1], "range of dates")
            require(self.timestamps[0] <= timestamp <= self.timestamps[1], "range of timestamps")
            if self.kind == 1:
                yield date, code, timestamp, 1, 0, "", tuple(column[i] for column in columns[3:])
            else:
                yield (date, code, timestamp, columns[3][i], signed(columns[4][i]), columns[5][i], ())

    def check_pages(self, rows):
        """What the directory says of the pages is so."""
        numbers = {code: i for i, code in enumerate(self.dictionary())}
        entries = Bytes(self.directory())
        for page in range(self.n_pages):
            entry = [entries.number(kind) for kind in "qqIIII"]
            part = rows[page * PAGE_ROWS : (page + 1) * PAGE_ROWS]
            codes = [numbers[row[1]] for row in part]
            expected = [part[0][0], part[-1][0], codes[0], codes[-1], min(codes), max(codes)]
            require(entry == expected, "page entry")

    def index_entries(self):
        entries = Bytes(self.directory())
        n_blocks, self.n_damaged = entries.number("Q"), entries.number("Q")
        self.n_given_up = entries.number("Q")
        for _ in range(n_blocks):
            entry = {}
            for name, kind in (("offset", "Q"), ("length", "Q"), ("sequence", "Q"), ("open", "I"),
                               ("rows", "I"), ("kind", "B"), ("first", "B"), ("last", "B"),
                               ("reserved", "B"), ("pages", "I")):
                entry[name] = entries.number(kind)
            entry["ranges"] = [entries.number("q") for _ in range(4)]
            entry["rows_by_status"] = [entries.number("I") for _ in range(6)]
            entry["first_code"] = entries.take(entry["first"]).decode()
            require(entries.take(1) == b"\0", "NUL")
            entry["last_code"] = entries.take(entry["last"]).decode()
            require(entries.take(1) == b"\0", "NUL")
            yield entry
        require(entries.at == len(entries.data), "bytes left over in the index")

    def check_trailer(self, backup):
        trailer = Bytes(self.data[self.at + self.length - 40 : self.at + self.length])
        require(trailer.take(8) == TRAILER_MAGIC, "trailer magic")
        require(trailer.number("Q") == checksum(trailer.data[16:]), "trailer checksum")
        require(trailer.number("Q") == self.at, "trailer offset")
        require(trailer.number("Q") == self.length, "trailer length")
        require(trailer.take(8) == backup.file_id[:8], "trailer file id")

    def check(self, backup):
        """Raises Corrupt unless every byte is right."""
        if self.kind == 3:
            list(self.index_entries())
            self.check_trailer(backup)
        else:
            self.dictionary()
            self.chunks()


# ------------------------------------------------------------------ files


class Backup:
    """What is in a file: its header, its good blocks in order, damage and tail."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read()
        self.read_header()
        self.blocks = []
        self.n_gaps = 0
        self.end = self.header_length
        self.walk()
        self.tail_bytes = len(self.data) - self.end

    def read_header(self):
        header = Bytes(self.data)
        require(header.take(8) == FILE_MAGIC, "no backup")
        stored = header.number("Q")
        self.version, incompatible, self.header_length = (header.number("I") for _ in range(3))
        require(checksum(self.data[16 : self.header_length]) == stored, "file header checksum")
        require(self.version == 1 and incompatible == 0, "a newer version")
        n_factors = header.number("I")
        self.file_id = header.take(16)
        self.created_us = header.number("q")
        tag_length = header.number("I")
        require(header.number("I") == 0, "reserved field")
        self.factors = [header.take(header.number("B")).decode() for _ in range(n_factors)]
        self.tag = None if tag_length == 0xFFFFFFFF else header.take(tag_length).decode()
        padding = self.data[header.at : self.header_length]
        require(len(padding) < 64 and not any(padding), "padding")

    def good_block(self, at, sequence):
        try:
            block = Block(self, at)
        except Corrupt:
            return None
        return block if block.sequence >= sequence else None

    def walk(self):
        """Steps 1 to 4 of the page's chapter on recovery."""
        found = []  # blocks, and offsets where gaps begin
        at, sequence, durable_end = self.header_length, 0, self.header_length
        while at < len(self.data):
            begin = at
            while at < len(self.data) and not (block := self.good_block(at, sequence)):
                at += 64
            if at >= len(self.data):
                break
            if at > begin or block.sequence > sequence:
                found.append(begin)
            durable_end = max(durable_end, block.durable_end)
            if not block.is_whole:
                break
            found.append(block)
            sequence = block.sequence + 1
            at += block.length
        self.durable_end = durable_end
        last_unsynced = max((i for i, item in enumerate(found)
                             if isinstance(item, Block) and item.flags & 1), default=-1)
        for i, item in enumerate(found):
            if isinstance(item, int):
                if item >= durable_end and i > last_unsynced:
                    break
                self.n_gaps += 1
                continue
            if item.at + item.length > durable_end:
                try:
                    item.check(self)
                except Corrupt:
                    if i >= last_unsynced:
                        break
            if item.kind == 3:
                listed = {entry["sequence"] for entry in item.index_entries()}
                self.blocks = [block for block in self.blocks
                               if block.kind == 3 or block.sequence in listed]
                self.n_gaps = item.n_damaged
            self.blocks.append(item)
            self.end = item.at + item.length
            if item.kind == 3:
                self.give_up(item)

    def give_up(self, index):
        """A block that an index block behind it does not list does not count any more."""
        listed = {entry["offset"] for entry in index.index_entries()}
        self.blocks = [block for block in self.blocks if block.kind == 3 or block.at in listed]

    def data_blocks(self):
        return [block for block in self.blocks if block.kind != 3]

    def index_blocks(self):
        return [block for block in self.blocks if block.kind == 3]

    def encodings(self):
        """Every (layout, transform) that occurs, by name."""
        seen = set()
        for block in self.data_blocks():
            for number, pages in enumerate(block.chunks()):
                for encoding, _ in pages:
                    if not (block.kind == 2 and number == 5):
                        seen.add((LAYOUTS[encoding % 16], TRANSFORMS[encoding // 16]))
        return seen

    def check_indexes(self):
        """Each index block lists the data blocks before it."""
        before = []
        for block in self.blocks:
            if block.kind != 3:
                before.append(block)
                continue
            entries = list(block.index_entries())
            require(len(entries) == len(before), "number of index entries")
            for entry, data in zip(entries, before):
                opened = data.header_length + data.directory_length + data.dictionary_length
                require(
                    (entry["offset"], entry["length"], entry["sequence"], entry["open"],
                     entry["rows"], entry["kind"], entry["pages"], tuple(entry["ranges"]),
                     entry["rows_by_status"], entry["first_code"], entry["last_code"])
                    == (data.at, data.length, data.sequence, opened, data.n_rows, data.kind,
                        data.n_pages, data.dates + data.timestamps, data.rows_by_status,
                        data.first_code, data.last_code), "index entry")
            block.check_trailer(self)


def show(row):
    date, code, timestamp, status, failure_code, message, words = row
    values = " ".join(struct.unpack("<d", struct.pack("<Q", word))[0].hex() for word in words)
    rest = values if status == 1 else f"{failure_code} {message}"
    return f"{date} {code} {timestamp} {STATUSES[status]} {rest}"


def main():
    backup = Backup(sys.argv[1])
    print(f"factors: {', '.join(backup.factors)}; tag: {backup.tag}; tail: {backup.tail_bytes} bytes")
    for block in backup.data_blocks():
        for row in block.rows():
            print(show(row))


if __name__ == "__main__":
    main()
