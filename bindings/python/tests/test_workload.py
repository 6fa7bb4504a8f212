"""The program of examples/bars_workload.py: the same numbers as pandas, a file without `high`, a
combined Arrow file, and going on after a kill. On market data where there is some, and on made-up bars
anyway."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import facpool

pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")

EXAMPLES = pathlib.Path(__file__).resolve().parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))

import bars_data  # noqa: E402
import bars_workload  # noqa: E402

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
DATA = pathlib.Path(os.environ.get("FACPOOL_DATA", REPOSITORY.parent / "shared" / "data"))
# The columns of US bars lie by the exchange's dates: 3,910 days, though 3,913 by UTC.
MARKET = {"us_1min": 3910, "ashare_15min": None}


def reference(bars):
    """(instrument, date) -> deviation, by pandas, of every file that has the column `high`."""
    found = []
    for path in sorted(pathlib.Path(bars).glob("*.arrow")):
        table = pd.read_feather(path)
        if "high" in table:
            deviation = (table["high"] / table["low"]).groupby(table["date"]).std()
            found.append(deviation.rename("factor").reset_index().assign(instrument=path.stem))
    return in_order(pd.concat(found))


def in_order(frame):
    frame = frame[["factor", "date", "instrument"]].sort_values(["date", "instrument"])
    return frame.reset_index(drop=True).astype({"instrument": str})


def assert_same(combined, expected):
    assert combined["instrument"].tolist() == expected["instrument"].tolist()
    assert combined["date"].tolist() == expected["date"].tolist()
    np.testing.assert_allclose(combined["factor"], expected["factor"], rtol=1e-9, atol=1e-15)


def run_whole(bars, folder):
    result = bars_workload.compute(bars, folder / "backup.arrow", workers=2)
    bars_workload.combine(folder / "backup.arrow", folder / "out.arrow")
    return result, in_order(pd.read_feather(folder / "out.arrow"))


@pytest.mark.may_skip  # the data are not ours to give away
@pytest.mark.parametrize("name", MARKET)
def test_market_data_gives_the_numbers_of_pandas(name, tmp_path):
    if not (DATA / name).is_dir():
        pytest.skip(f"no market data: FACPOOL_DATA names no folder with {name}")
    bars = tmp_path / "bars"
    bars_data.convert(DATA / name, bars)
    expected = reference(bars)
    # one more instrument, without the column
    first = sorted(bars.glob("*.arrow"))[0]
    with pa.memory_map(str(first)) as file:
        table = pa.ipc.open_file(file).read_all().drop_columns(["high"])
        bars_data.write_bars(bars / "nohigh.arrow", table)

    result, combined = run_whole(bars, tmp_path)

    assert_same(combined, expected)
    if MARKET[name]:
        assert len(combined) == MARKET[name]
    assert result.report["failed"] == 0
    assert result.report["skipped"] == len(result) - len(expected)
    assert "nohigh" not in set(combined["instrument"])
    if name == "ashare_15min":
        spot = combined[combined["instrument"] == "000001"].set_index("date")["factor"]
        assert spot[20250102] == pytest.approx(0.0024002063251780787, rel=1e-12)
        assert spot[20260401] == pytest.approx(0.0015068621539833249, rel=1e-12)


def test_made_up_bars_give_the_numbers_of_pandas(tmp_path):
    bars = tmp_path / "bars"
    bars_data.make_up(bars, instruments=12, days=20, bars=30)

    result, combined = run_whole(bars, tmp_path)

    assert_same(combined, reference(bars))
    assert result.report["ok"] == 11 * 20
    assert result.report["skipped"] == 20  # the instrument without `high`


def test_days_with_fewer_than_two_bars_are_values_not_failures(tmp_path):
    bars = tmp_path / "bars"
    bars.mkdir()
    zero, nan = 0.0, float("nan")
    bars_data.write_bars(bars / "600777.arrow", pa.table({
        "date": [20250616, 20250616, 20250617, 20250617, 20250618, 20250618],
        "high": [zero, zero, zero, 2.0, 3.0, 6.0],
        "low": [zero, zero, zero, 1.0, 2.0, 5.0],
    }))

    bars_data.write_calendar(bars, [20250616, 20250617, 20250618, 20250619])

    result, _ = run_whole(bars, tmp_path)

    assert (result.report["ok"], result.report["skipped"]) == (3, 1)
    np.testing.assert_allclose(result["deviation"], [nan, nan, np.std([1.5, 1.2], ddof=1), nan])


def test_a_killed_program_goes_on_where_it_stopped(tmp_path):
    bars, backup = tmp_path / "bars", tmp_path / "backup.arrow"
    bars_data.make_up(bars, instruments=60, days=20, bars=30)
    stuck = subprocess.Popen([sys.executable, "-c", STUCK_PROGRAM, str(bars), str(backup)],
                             cwd=EXAMPLES)
    wait_for_rows(backup, stuck)
    stuck.send_signal(signal.SIGKILL)
    stuck.wait()

    result, combined = run_whole(bars, tmp_path)

    assert 0 < result.report["resumed"] < 60 * 20
    assert_same(combined, reference(bars))


# The same run, in which each worker stops for ever at its fifth file.
STUCK_PROGRAM = """
import sys
import threading
import bars_workload

bars, backup = sys.argv[1:]
files = []

def stuck(dates, codes, bars):
    files.append(codes[0])
    if len(files) == 5:
        threading.Event().wait()
    return of_instrument(dates, codes, bars)

bars_workload.of_instrument, of_instrument = stuck, bars_workload.of_instrument
bars_workload.compute(bars, backup, workers=2)
"""


def wait_for_rows(backup, process):
    """Until the file holds rows; the process must not end before."""
    while process.poll() is None:
        try:
            if len(facpool.query(backup)) > 0:
                return
        except FileNotFoundError:
            pass
        time.sleep(0.02)
    pytest.fail(f"the program ended by itself: {process.returncode}")


def test_the_program_runs_as_a_newcomer_starts_it(tmp_path):
    done = subprocess.run([sys.executable, str(EXAMPLES / "bars_workload.py"), "--workers", "2"],
                          cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "2340 days, 60 skipped, 0 failed, 0 taken over: deviation.arrow" in done.stdout
    assert len(pd.read_feather(tmp_path / "deviation.arrow")) == 39 * 60
