"""Stores that people keep such rows in, each at its best reasonable setting, behind one interface.
Used by peers.py. A store writes all rows (sorted by date and code) from columns in memory and
answers three questions from a file that is opened for each; it knows nothing of timing.
"""

import os
import shutil
import sqlite3
import struct

import numpy as np

import peer_parquet


class Rows:
    """A row set that bench wrote: see bench_rows.h."""

    def __init__(self, folder):
        with open(os.path.join(folder, "meta"), encoding="utf-8") as meta:
            lines = meta.read().split("\n")
        self.n = int(lines[0])
        self.names = lines[2 : 2 + int(lines[1])]
        with open(os.path.join(folder, "codes"), encoding="utf-8") as codes:
            self.code_list = codes.read().split("\n")[:-1]
        column = lambda name, kind: np.fromfile(os.path.join(folder, name), dtype=kind)
        self.dates = column("dates", "<i8")
        self.timestamps = column("timestamps", "<i8")
        self.code_ids = column("code_ids", "<u4")
        self.factors = [column(f"factor_{k}", "<f8") for k in range(len(self.names))]
        self.codes = np.array(self.code_list, dtype=object)[self.code_ids]
        self.code_bytes = np.array([code.encode() for code in self.code_list])[self.code_ids]
        with open(os.path.join(folder, "questions"), encoding="utf-8") as questions:
            parts = [line.split() for line in questions]
        self.points = [(int(p[1]), p[2:]) for p in parts if p[0] == "point"]
        self.histories = [p[1] for p in parts if p[0] == "history"]

    def table(self):
        """As Arrow. Codes as plain text: who wants a dictionary makes one."""
        import pyarrow as pa

        columns = {
            "date": pa.array(self.dates),
            "code": pa.array(self.codes, pa.string()),
            "timestamp": pa.array(self.timestamps, pa.timestamp("us", "UTC")),
        }
        columns.update({name: pa.array(values) for name, values in zip(self.names, self.factors)})
        return pa.table(columns)

    def answer(self, mask):
        return total([values[mask] for values in self.factors])


def total(columns):
    """(rows, sum of everything that is not NaN) of columns of factors."""
    columns = [np.asarray(column, dtype=np.float64) for column in columns]
    return len(columns[0]), float(sum(np.nansum(column) for column in columns))


def total_of_tuples(rows, n_factors):
    if not rows:
        return 0, 0.0
    return total(np.array(rows, dtype=np.float64).reshape(len(rows), n_factors).T)


def row_range(dates, date):
    """First and last + 1 of a date in sorted dates."""
    return np.searchsorted(dates, date, "left"), np.searchsorted(dates, date, "right")


class Store:
    """What peers.py calls. `slow` stores are asked fewer questions."""

    name = how = ""
    slow = False

    def __init__(self, rows, path):
        self.rows = rows
        self.path = path
        self.factors = rows.names

    def files(self):
        if os.path.isdir(self.path):
            return [os.path.join(self.path, name) for name in os.listdir(self.path)]
        return [self.path]

    def bytes(self):
        return sum(os.path.getsize(path) for path in self.files())

    def remove(self):
        if os.path.isdir(self.path):
            shutil.rmtree(self.path)
        elif os.path.exists(self.path):
            os.remove(self.path)


# ------------------------------------------------------------------ Arrow's files


class Parquet(Store):
    name = "Parquet + zstd"
    encodings = None  # set before it writes: finding them is not part of the time
    how = "pyarrow, row groups of 65,536 rows, the smallest encoding of every column, zstd 1"

    def write(self):
        peer_parquet.write(self.path, self.rows.table(), 1, self.encodings, 65536)

    def find(self, filters):
        import pyarrow.parquet as pq

        found = pq.read_table(self.path, columns=self.factors, filters=filters)
        return total([found.column(name).to_numpy() for name in self.factors])

    def point(self, date, codes):
        return self.find([("date", "==", date), ("code", "in", codes)])

    def history(self, code):
        return self.find([("code", "==", code)])

    def scan(self, factor):
        import pyarrow.parquet as pq

        return total([pq.read_table(self.path, columns=[factor]).column(0).to_numpy()])


class Feather(Store):
    """Uncompressed, mapped, with the dates searched by hand: the quickest it gets."""

    name = "Feather"
    how = "pyarrow, uncompressed, mapped, batches of 65,536 rows, dates by binary search"
    compression = None

    def write(self):
        from pyarrow import feather

        feather.write_feather(
            self.rows.table(), self.path, compression=self.compression or "uncompressed",
            chunksize=65536,
        )

    def batches(self):
        import pyarrow as pa

        with pa.memory_map(self.path) as source:
            reader = pa.ipc.open_file(source)
            for i in range(reader.num_record_batches):
                yield reader.get_batch(i)

    def find(self, batch, first, end, codes):
        import pyarrow as pa
        import pyarrow.compute as pc

        part = batch.slice(first, end - first)
        mask = pc.is_in(part.column("code"), pa.array(codes, pa.string()))
        return [part.column(name).filter(mask).to_numpy() for name in self.factors]

    def point(self, date, codes):
        found = []
        for batch in self.batches():
            dates = batch.column("date").to_numpy()
            if dates[0] <= date <= dates[-1]:
                found.append(self.find(batch, *row_range(dates, date), codes))
        return total([np.concatenate(columns) for columns in zip(*found)])

    def history(self, code):
        found = [self.find(batch, 0, batch.num_rows, [code]) for batch in self.batches()]
        return total([np.concatenate(columns) for columns in zip(*found)])

    def scan(self, factor):
        parts = [total([batch.column(factor).to_numpy()]) for batch in self.batches()]
        return sum(n for n, _ in parts), sum(value for _, value in parts)


class FeatherZstd(Feather):
    name = "Feather + zstd"
    how = "pyarrow, zstd, only the columns asked for"
    compression = "zstd"

    def read(self, columns):
        from pyarrow import feather

        return feather.read_table(self.path, columns=columns)

    def matching(self, expression):
        found = self.read(["date", "code", *self.factors]).filter(expression)
        return total([found.column(name).to_numpy() for name in self.factors])

    def point(self, date, codes):
        import pyarrow.compute as pc

        return self.matching((pc.field("date") == date) & pc.field("code").isin(codes))

    def history(self, code):
        import pyarrow.compute as pc

        return self.matching(pc.field("code") == code)

    def scan(self, factor):
        return total([self.read([factor]).column(0).to_numpy()])


class Csv(Store):
    name = "CSV"
    how = "one file, written and read by pyarrow"
    slow = True

    def write(self):
        from pyarrow import csv

        csv.write_csv(self.rows.table(), self.path)

    def read(self, columns):
        import pyarrow as pa
        from pyarrow import csv

        types = {"code": pa.string(), **{name: pa.float64() for name in self.factors}}
        return csv.read_csv(
            self.path,
            convert_options=csv.ConvertOptions(
                include_columns=columns, column_types=types, null_values=[""]),
        )

    def matching(self, expression):
        found = self.read(["date", "code", *self.factors]).filter(expression)
        return total([found.column(name).to_numpy() for name in self.factors])

    def point(self, date, codes):
        import pyarrow.compute as pc

        return self.matching((pc.field("date") == date) & pc.field("code").isin(codes))

    def history(self, code):
        import pyarrow.compute as pc

        return self.matching(pc.field("code") == code)

    def scan(self, factor):
        return total([self.read([factor]).column(0).to_numpy()])


# ------------------------------------------------------------------ databases


class DuckDb(Store):
    name = "DuckDB"
    how = "one table in key order, no index (its zone maps find a date), all its threads"

    def write(self):
        import duckdb

        columns = self.rows.table()  # noqa: F841, DuckDB finds it by its name
        with duckdb.connect(self.path) as connection:
            connection.execute("CREATE TABLE rows AS SELECT * FROM columns")
            connection.execute("CHECKPOINT")

    def ask(self, sql, *values):
        import duckdb

        with duckdb.connect(self.path, read_only=True) as connection:
            return connection.execute(sql, values).fetchnumpy()

    def columns(self):
        return ", ".join(f'"{name}"' for name in self.factors)

    def point(self, date, codes):
        sql = f"SELECT {self.columns()} FROM rows WHERE date = ? AND code IN (?, ?)"
        return total(self.ask(sql, date, *codes).values())

    def history(self, code):
        return total(self.ask(f"SELECT {self.columns()} FROM rows WHERE code = ?", code).values())

    def scan(self, factor):
        return total(self.ask(f'SELECT "{factor}" FROM rows').values())


class Sqlite(Store):
    name = "SQLite"
    how = "Python's sqlite3, WITHOUT ROWID (date, code), one transaction, no journal"

    def write(self):
        names = "".join(f', "{name}" REAL' for name in self.factors)
        marks = ", ".join("?" * (3 + len(self.factors)))
        lists = [self.rows.dates.tolist(), self.rows.codes.tolist(), self.rows.timestamps.tolist()]
        lists += [values.tolist() for values in self.rows.factors]
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute(
            f"CREATE TABLE rows (date INTEGER, code TEXT, timestamp INTEGER{names}, "
            "PRIMARY KEY (date, code)) WITHOUT ROWID"
        )
        connection.execute("BEGIN")
        connection.executemany(f"INSERT INTO rows VALUES ({marks})", zip(*lists))
        connection.execute("COMMIT")
        connection.close()

    def ask(self, sql, values, n_factors):
        connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
        try:
            return total_of_tuples(connection.execute(sql, values).fetchall(), n_factors)
        finally:
            connection.close()

    def columns(self):
        return ", ".join(f'"{name}"' for name in self.factors)

    def point(self, date, codes):
        sql = f"SELECT {self.columns()} FROM rows WHERE date = ? AND code IN (?, ?)"
        return self.ask(sql, (date, *codes), len(self.factors))

    def history(self, code):
        # The dates lead, so that each is a look-up in the key.
        sql = (
            f"WITH RECURSIVE days(date) AS (SELECT min(date) FROM rows UNION ALL SELECT (SELECT "
            f"min(date) FROM rows WHERE date > days.date) FROM days WHERE days.date NOT NULL) "
            f"SELECT {self.columns()} FROM days CROSS JOIN rows USING (date) WHERE code = ?"
        )
        return self.ask(sql, (code,), len(self.factors))

    def scan(self, factor):
        return self.ask(f'SELECT "{factor}" FROM rows', (), 1)


class Lmdb(Store):
    name = "LMDB"
    how = "py-lmdb, appended in key order, one transaction, no sync until the end"

    def open(self, **options):
        import lmdb

        return lmdb.open(self.path, map_size=self.rows.n * 160 + (64 << 20), **options)

    def key(self, date, code):
        return struct.pack(">Q", date + 2**63) + code.encode()

    def write(self):
        rows = self.rows
        keys = (rows.dates.astype(np.uint64) + np.uint64(2**63)).astype(">u8").tobytes()
        values = np.column_stack([rows.timestamps.view("f8"), *rows.factors]).tobytes()
        width = 8 * (1 + len(rows.factors))
        codes = rows.code_bytes.tolist()
        items = (
            (keys[8 * i : 8 * i + 8] + codes[i], values[width * i : width * (i + 1)])
            for i in range(rows.n)
        )
        environment = self.open(sync=False, writemap=True, map_async=True)
        with environment.begin(write=True) as transaction:
            transaction.cursor().putmulti(items, append=True)
        environment.sync(True)
        environment.close()

    def read(self, work):
        environment = self.open(readonly=True, lock=False)
        with environment.begin() as transaction:
            found = work(transaction)
        environment.close()
        table = np.frombuffer(b"".join(found), dtype="<f8").reshape(len(found), -1)
        return table[:, 1:].T

    def bytes(self):
        # The file is as large as the map, most of it a hole.
        return sum(512 * os.stat(path).st_blocks for path in self.files())

    def point(self, date, codes):
        found = lambda transaction: [transaction.get(self.key(date, code)) for code in codes]
        return total(self.read(lambda t: [value for value in found(t) if value is not None]))

    def history(self, code):
        def look(transaction):
            cursor, found, at = transaction.cursor(), [], b"\0"
            while cursor.set_range(at):  # to each date, then to the code in it
                day = bytes(cursor.key()[:8])
                value = transaction.get(day + code.encode())
                if value is not None:
                    found.append(value)
                at = day + b"\xff"
            return found

        return total(self.read(look))

    def scan(self, factor):
        all_values = lambda t: list(t.cursor().iternext(keys=False, values=True))
        return total([self.read(all_values)[self.factors.index(factor)]])


# ------------------------------------------------------------------ arrays


class Hdf5(Store):
    name = "HDF5"
    how = "h5py, a dataset a column, chunks of 65,536, shuffle + gzip 1, dates by binary search"
    options = {"compression": "gzip", "compression_opts": 1, "shuffle": True}

    def write(self):
        import h5py

        with h5py.File(self.path, "w") as file:
            columns = {
                "date": self.rows.dates,
                "code": self.rows.code_bytes,
                "timestamp": self.rows.timestamps,
            }
            columns.update(zip(self.factors, self.rows.factors))
            for name, values in columns.items():
                chunk = (min(65536, self.rows.n),)
                file.create_dataset(name, data=values, chunks=chunk, **self.options)

    def pick(self, file, first, end, codes):
        wanted = np.isin(file["code"][first:end], [code.encode() for code in codes])
        return total([file[name][first:end][wanted] for name in self.factors])

    def point(self, date, codes):
        import h5py

        with h5py.File(self.path, "r") as file:
            return self.pick(file, *row_range(file["date"][:], date), codes)

    def history(self, code):
        import h5py

        with h5py.File(self.path, "r") as file:
            return self.pick(file, 0, self.rows.n, [code])

    def scan(self, factor):
        import h5py

        with h5py.File(self.path, "r") as file:
            return total([file[factor][:]])


class Npy(Store):
    name = "npy files"
    how = "NumPy, a file a column, mapped, dates by binary search"

    def write(self):
        os.mkdir(self.path)
        columns = {
            "date": self.rows.dates,
            "code": self.rows.code_bytes,
            "timestamp": self.rows.timestamps,
        }
        columns.update(zip(self.factors, self.rows.factors))
        for name, values in columns.items():
            np.save(os.path.join(self.path, name + ".npy"), values)

    def load(self, name):
        return np.load(os.path.join(self.path, name + ".npy"), mmap_mode="r")

    def pick(self, first, end, codes):
        wanted = np.isin(self.load("code")[first:end], [code.encode() for code in codes])
        return total([self.load(name)[first:end][wanted] for name in self.factors])

    def point(self, date, codes):
        return self.pick(*row_range(self.load("date"), date), codes)

    def history(self, code):
        return self.pick(0, self.rows.n, [code])

    def scan(self, factor):
        return total([self.load(factor)])


STORES = [Parquet, FeatherZstd, Feather, DuckDb, Sqlite, Lmdb, Hdf5, Npy, Csv]
