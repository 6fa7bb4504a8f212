"""The page lib/store/FORMAT.md against the library: a reader written from the page alone
(readers/binary_reader.py) must find, bit for bit, the rows that make_format_sample put into a file
in which everything on the page occurs.

    python3 test_format.py MAKE_FORMAT_SAMPLE

Needs the packages zstandard and xxhash; exits with 77 (skipped) where they are missing."""
import os
import subprocess
import sys
import tempfile

try:
    import xxhash  # noqa: F401
    import zstandard  # noqa: F401
except ImportError as missing:
    print(f"skipped: {missing}: pip install zstandard xxhash")
    sys.exit(77)

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "readers"))
import binary_reader  # noqa: E402

FACTORS = ["constant", "random_bits", "small_integers", "counter", "few_values", "f32", "z_score",
           "price", "mostly_nan", "rank", "mixed", "skewed_bytes",
           "share", "价格"]


def expected_rows(path):
    rows = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            date, code, timestamp, status, failure_code, message, words = line.rstrip("\n").split("\t")
            rows.append((int(date), code, int(timestamp), int(status), int(failure_code), message,
                         tuple(int(word, 16) for word in words.split())))
    return rows


def check_rows(backup, expected):
    found = []
    for block in backup.data_blocks():
        rows = list(block.rows())
        keys = [(row[0], row[1].encode()) for row in rows]
        assert keys == sorted(keys), "rows of a block are not in order"
        assert len({row[3] == 1 for row in rows}) == 1, "ok and other rows in one block"
        block.check_pages(rows)
        found += rows
    assert len(found) == len(expected), f"{len(found)} rows, not {len(expected)}"
    for row, other in zip(sorted(found), sorted(expected)):
        assert row == other, f"{row}\nis not\n{other}"


def check_that_everything_occurs(backup):
    encodings = backup.encodings()
    layouts = {layout for layout, _ in encodings}
    transforms = {transform for _, transform in encodings}
    missing = set(binary_reader.LAYOUTS.values()) - layouts
    missing |= set(binary_reader.TRANSFORMS.values()) - transforms
    assert not missing, f"the sample lacks encodings: {missing}; it has {sorted(encodings)}"
    kinds = [block.kind for block in backup.blocks]
    assert kinds == [1, 2, 1, 3, 1, 2, 3, 1], f"kinds of blocks: {kinds}"  # resumed twice
    statuses = {row[3] for block in backup.data_blocks() for row in block.rows()}
    assert statuses == {1, 2, 3, 4, 5}, f"statuses: {statuses}"
    assert backup.tail_bytes > 0, "no torn tail"
    assert any(block.durable_end > backup.header_length for block in backup.blocks)
    print(f"encodings: {sorted(encodings)}")


def check_chunks(path):
    """Single chunks, so that every layout under every transform is met."""
    seen = set()
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file):
            encoding, n, data, words = line.rstrip("\n").split("\t")
            expected = [int(word, 16) for word in words.split()]
            found = binary_reader.decode_words(int(encoding), bytes.fromhex(data), int(n))
            assert found == expected, f"chunk {number} of encoding {encoding}"
            seen.add((binary_reader.LAYOUTS[int(encoding) % 16],
                      binary_reader.TRANSFORMS[int(encoding) // 16]))
    everything = {(layout, transform) for layout in binary_reader.LAYOUTS.values()
                  for transform in binary_reader.TRANSFORMS.values()}
    missing = everything - seen - {("raw", "decimal"), ("raw", "ratio")}  # never written
    assert not missing, f"no chunk of these encodings: {missing}"
    print(f"ok   {number + 1} chunks in {len(seen)} encodings")


def main():
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name) for name in ("sample.fpb", "rows.txt", "chunks.txt")]
        subprocess.run([sys.argv[1], *paths], check=True)
        path, rows_path, chunks_path = paths
        check_chunks(chunks_path)
        backup = binary_reader.Backup(path)
        assert backup.factors == FACTORS and backup.tag == "sample, 样本"
        check_rows(backup, expected_rows(rows_path))
        check_that_everything_occurs(backup)
        backup.check_indexes()
        assert backup.n_gaps == 0
        rows = sum(block.n_rows for block in backup.data_blocks())
        print(f"ok   {rows} rows in {len(backup.blocks)} blocks, {backup.tail_bytes} bytes torn off")


main()
