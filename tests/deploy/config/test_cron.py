"""Cron expressions: normalised so that cron, Kubernetes and Cloud Scheduler read them alike, or refused."""

from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InputError
from deploy.config import cron
from tests.support.commands import deploy


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 3 * * 1", "0 3 * * 1"),
        ("0 3 * * 7", "0 3 * * 0"),
        ("0 3 * * 5-7", "0 3 * * 0,5,6"),
        ("0 3 * * 1-7/2", "0 3 * * 0,1,3,5"),
        ("0 3 * * MON", "0 3 * * 1"),
        ("0 3 * jan-Mar sat,SUN", "0 3 * 1-3 6,0"),
        ("0 3 * * FRI-SUN", "0 3 * * 0,5,6"),
        ("*/15 1-5/2 1,15 */1 *", "*/15 1-5/2 1,15 * *"),
        ("05 03 */2 * *", "5 3 */2 * *"),
        ("*/60 */24 * * 0,7", "0 0 * * 0"),
        ("@hourly", "0 * * * *"),
        ("@Daily", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
    ],
)
def test_times_are_written_in_numbers_and_sunday_is_0(text, expected):
    assert cron.normalize(text) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("0 3 * *", "must have five fields: minute, hour, .*; or be one of @hourly"),
        ("@reboot", "must have five fields"),
        ("60 3 * * 1", "'60' is not a valid minute; give .* from 0 to 59"),
        ("0 3 0 * *", "'0' is not a valid day of the month"),
        ("0 3 * 13 *", "'13' is not a valid month; give .*, a name from JAN to DEC"),
        ("0 3 * * 8", "'8' is not a valid day of the week"),
        ("0 3 * * MOON", "'MOON' is not a valid day of the week; give .*, a name from SUN to SAT"),
        ("0 3 * * 5-1", "'5-1' is not a valid day of the week"),
        ("0 3 * * 1\n* * * * * rm", "must have five fields"),
        ("5/15 * * * *", "'5/15': cron and Kubernetes read this differently; write 5-59/15"),
        ("0 3 * * 7/2", "'7/2': cron and Kubernetes read this differently; write 0-6/2"),
        ("*/90 * * * *", r"'\*/90': matches only minute 0; write 0, or a smaller step"),
        ("0 3 */2 * 1", "with steps in one day field and the other set, cron runs on days that match both"),
        ("0 3 1 * */2", "with steps in one day field"),
        ("0 3 */2 * */3", "with steps in one day field"),
        ("0 3 */31 * 1", "matches only day of the month 1"),
        ("0 3 1,* * *", r"'1,\*': \* already matches everything; leave the rest out"),
    ],
)
def test_what_is_no_time_or_not_the_same_everywhere_is_refused(text, complaint):
    with pytest.raises(InputError, match=complaint) as refusal:
        cron.normalize(text)
    assert repr(text) in str(refusal.value)


def test_of_a_long_text_the_beginning_is_shown():
    with pytest.raises(InputError) as refusal:
        cron.normalize("1" * 5000 + " 3 * * *")
    assert len(str(refusal.value)) < 400


Reading = tuple[set[int], bool]
"""The numbers that a field stands for, and whether it counts as a star: then days must match the other field, too."""


def as_cron(text: str, lowest: int, highest: int) -> Reading:
    """As Debian's cron 3.0 reads a field: entry.c, get_list and get_range."""
    numbers: set[int] = set()
    for part in text.split(","):
        bounds, _, step = part.partition("/")
        low, _, high = (f"{lowest}-{highest}" if bounds == "*" else bounds).partition("-")
        assert not step or "-" in bounds or bounds == "*", "cron takes no step after a number"
        numbers |= set(range(int(low), int(high or low) + 1, int(step or 1)))
    return numbers, text.startswith("*")


def as_kubernetes(text: str, lowest: int, highest: int) -> Reading:
    """As https://github.com/robfig/cron/blob/v3/parser.go reads it: getField and getRange."""
    numbers, is_star = set(), False
    for part in text.split(","):
        bounds, _, step = part.partition("/")
        low, _, high = (f"{lowest}-{highest}" if bounds == "*" else bounds).partition("-")
        is_star |= bounds == "*" and int(step or 1) == 1
        end = int(high or (highest if step else low))
        assert lowest <= int(low) <= end <= highest, "Kubernetes refuses it"
        numbers |= set(range(int(low), end + 1, int(step or 1)))
    return numbers, is_star


def runs(read: Callable[[str, int, int], Reading], text: str, highest_weekday: int) -> list:
    """Minutes, hours and months, and the days (of the month, of the week) on which it runs."""
    minute, hour, day, month, weekday = text.split()
    (days, all_days), (weekdays, all_weekdays) = read(day, 1, 31), read(weekday, 0, highest_weekday)
    weekdays = {number % 7 for number in weekdays}
    both = all_days or all_weekdays
    matches = [
        (number, name)
        for number, name in product(range(1, 32), range(7))
        if (number in days and name in weekdays if both else number in days or name in weekdays)
    ]
    return [read(minute, 0, 59)[0], read(hour, 0, 23)[0], read(month, 1, 12)[0], matches]


def parts(lowest: int, highest: int) -> st.SearchStrategy[str]:
    """A number, a range, or a range with steps, all within the bounds."""
    number = st.integers(lowest, highest)
    bounds = st.tuples(number, number).map(sorted).map("{0[0]}-{0[1]}".format)
    return st.one_of(number.map(str), bounds, st.tuples(bounds, st.integers(1, 3)).map("{0[0]}/{0[1]}".format))


def fields(lowest: int, highest: int) -> st.SearchStrategy[str]:
    stars = st.one_of(st.just("*"), st.integers(1, 5).map("*/{}".format))
    return st.one_of(stars, st.lists(parts(lowest, highest), min_size=1, max_size=3).map(",".join))


TIMES = st.tuples(st.just("0"), fields(0, 23), fields(1, 31), fields(1, 12), fields(0, 7)).map(" ".join)


@given(TIMES)
def test_cron_and_kubernetes_run_what_is_not_refused_at_the_same_times(text):
    try:
        normal = cron.normalize(text)
    except InputError as refusal:  # with steps of days beside other days they do not, see the next test
        assert "with steps in one day field" in str(refusal) or "matches only" in str(refusal)
        return
    assert runs(as_cron, normal, 7) == runs(as_kubernetes, normal, 6) == runs(as_cron, text, 7)
    assert cron.normalize(normal) == normal


def test_cron_and_kubernetes_would_run_what_is_refused_at_other_times():
    """Shows that the readings above differ where the difference is said to be."""
    for text in ("0 3 */2 * 1", "0 3 1 * */2", "0 3 */2 * */3"):
        assert runs(as_cron, text, 7) != runs(as_kubernetes, text, 6)


@pytest.mark.parametrize(("target", "text"), [("kubernetes", "schedule: 0 3 * * 0"), ("vertex", '"0 3 * * 0"')])
def test_every_target_is_sent_the_times_as_they_are_read_everywhere(write_job, capsys, target, text):
    for cron_text in ("0 3 * * 7", "0 3 * * SUN"):
        job = write_job(schedule={"cron": cron_text})
        assert text in deploy(capsys, "schedule", "--target", target, "--job", job, "--dry-run")
        job = write_job()
        assert text in deploy(capsys, "schedule", "--target", target, "--job", job, "--cron", cron_text, "--dry-run")
