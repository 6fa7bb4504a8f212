"""The tasks and the functions that are measured. A module of its own, because fresh processes of
the peers import what they call by its name."""

import datetime
import random


def weekdays(n, first=datetime.date(2016, 1, 1)):
    """n weekdays as yyyymmdd."""
    days = []
    day = first
    while len(days) < n:
        if day.weekday() < 5:
            days.append(day.year * 10000 + day.month * 100 + day.day)
        day += datetime.timedelta(1)
    return days


def instruments(n):
    return [f"{i + 1:06d}" for i in range(n)]


def axes(n):
    """Dates and codes of about n tasks, 5,000 codes a date as in the main job."""
    n_codes = min(n, 5000)
    return weekdays(max(1, n // n_codes)), instruments(n_codes)


def pairs(dates, codes):
    return [(date, code) for date in dates for code in codes]


# ------------------------------------------------------------------ next to nothing

FIRST, SECOND, THIRD = 1.5, 2.5, 3.5


def nothing(date, code):
    """Three distinct floats in a tuple of its own at every call: a constant tuple would be pickled
    once a chunk."""
    return FIRST, SECOND, THIRD


def nothing_of_pair(pair):
    """The same for maps that hand over one argument."""
    date, code = pair
    return FIRST, SECOND, THIRD


def noise(date, code, random=random.random):
    """Three floats that neither repeat nor compress."""
    return random(), random(), random()


def noise_of_pair(pair, random=random.random):
    date, code = pair
    return random(), random(), random()


FUNCTIONS = {"nothing": (nothing, nothing_of_pair), "noise": (noise, noise_of_pair)}


# ------------------------------------------------------------------ a known time


def steps(n):
    """A chain of n additions: work that needs no clock."""
    x = 0.0
    for _ in range(n):
        x += 1.0
    return x


def steps_for(seconds, clock):
    """How many steps take so long: by the best of several tries, for the machine can only make
    them slower."""
    probe = 20000
    best = min(_time_of(probe, clock) for _ in range(15))
    return max(1, int(seconds / best * probe))


def _time_of(n, clock):
    start = clock()
    steps(n)
    return clock() - start


NATIVE_FACTORS = ["zscore", "price", "rank"]
