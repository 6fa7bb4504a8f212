"""A first look at an installed package, with nothing but what it requires: each part once. tests/run.sh
runs it in clean environments, with the path of a backup to make."""
import os
import sys

import facpool


def factor(date, code):
    if code == "000003":
        raise ValueError("on purpose")
    return {"ma5": date * 0.5, "ma20": float(int(code))}


def main(path):
    facpool.show_versions()
    if os.path.exists(path):
        os.remove(path)
    pairs = [(date, f"{i:06d}") for date in (20240102, 20240103) for i in range(5)]
    expected = [[date, code, date * 0.5, float(int(code))] for date, code in pairs
                if code != "000003"]
    for start_method in ("fork", "spawn"):
        result = facpool.run(factor, pairs, backup=path, mode="overwrite", workers=2,
                             start_method=start_method)
        assert list(result.factor_names) == ["ma5", "ma20"]
        assert result.report.ok == 8 and result.report.failed == 2
        assert "on purpose" in result.failures[0].message
    rows = facpool.query(path, start=20240103)
    assert rows["ma20"].tolist() == [0.0, 1.0, 2.0, 4.0]
    assert [row[:2] + row[3:] for row in facpool.query_backup(path, storage_format="binary")] == expected
    assert facpool.run_pools(lambda date, code: [1.5], pairs[:2]) == [[*pairs[0], 1.5], [*pairs[1], 1.5]]
    assert len(facpool.grid([1, 2], ["a"])) == 2
    print("all well, Python", sys.version.split()[0], "from", os.path.dirname(facpool.__file__))


if __name__ == "__main__":
    main(sys.argv[1])
