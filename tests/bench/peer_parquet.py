"""P4: the bytes a row that Parquet + zstd takes at its best, column by column. Used by peers.py.
"""

import os

ENCODINGS = {
    "dictionary": {"use_dictionary": True},
    "plain": {"use_dictionary": False},
    "byte stream split": {"use_dictionary": False, "encoding": "BYTE_STREAM_SPLIT"},
    "delta": {"use_dictionary": False, "encoding": "DELTA_BINARY_PACKED"},
}


def suits(encoding, column):
    import pyarrow.types as types

    kind = column.type
    if encoding == "byte stream split":
        return types.is_floating(kind)
    if encoding == "delta":
        return types.is_integer(kind) or types.is_timestamp(kind)
    return True


def write(path, table, level, encodings, row_group_rows=None):
    """`encodings`: one of ENCODINGS a column. Returns the file's size."""
    import pyarrow.parquet as pq

    chosen = {name: ENCODINGS[encoding] for name, encoding in encodings.items()}
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=level,
        row_group_size=row_group_rows,
        use_dictionary=[name for name, kind in chosen.items() if kind["use_dictionary"]],
        column_encoding={name: kind["encoding"] for name, kind in chosen.items()
                         if "encoding" in kind} or None,
    )
    return os.path.getsize(path)


def column_bytes(path):
    import pyarrow.parquet as pq

    meta = pq.read_metadata(path)
    return {
        meta.schema.column(c).name: sum(
            meta.row_group(g).column(c).total_compressed_size for g in range(meta.num_row_groups))
        for c in range(meta.num_columns)
    }


def smallest(table, level, path):
    """(bytes of the file, {column: (encoding, bytes)}) with the best encoding of every column."""
    best = {}
    for encoding in ENCODINGS:
        names = [name for name in table.column_names if suits(encoding, table.column(name))]
        write(path, table.select(names), level, {name: encoding for name in names})
        for name, size in column_bytes(path).items():
            if name not in best or size < best[name][1]:
                best[name] = (encoding, size)
    size = write(path, table, level, {name: encoding for name, (encoding, _) in best.items()})
    os.remove(path)
    return size, best


def by_default(table, path):
    import pyarrow.parquet as pq

    pq.write_table(table, path, compression="zstd")
    size = os.path.getsize(path)
    os.remove(path)
    return size
