"""Too fast to have read, and the same side in a row."""

from dataclasses import replace
from itertools import groupby, product

import numpy as np
import pytest

from annotation.quality.pace import SKIMMED, chance_of_run, longest_run, paces
from annotation.quality.votes import FIRST, LEFT, RIGHT, TIE, UNSEEN
from bench.quality.crowds import votes_of


@pytest.mark.parametrize(("length", "n", "share"), [(3, 8, 0.5), (1, 4, 0.3), (8, 8, 0.9), (4, 10, 0.7), (0, 5, 0.5)])
def test_the_chance_of_a_run_is_that_of_all_sequences_counted(length: int, n: int, share: float) -> None:
    counted = 0.0
    for draws in product((0, 1), repeat=n):
        longest = max((len(list(group)) for kind, group in groupby(draws) if kind), default=0)
        counted += share ** sum(draws) * (1 - share) ** (n - sum(draws)) * (longest >= length)
    assert chance_of_run(length, n, share) == pytest.approx(counted)


def test_the_longest_run_is_the_least_likely_one() -> None:
    # Four ties in a row are rarer than five on one side where only one vote in ten is a tie.
    clicks = np.array([LEFT] * 5 + [0] * 4 + [RIGHT, LEFT])
    run, chance = longest_run(clicks, {LEFT: 0.45, 0: 0.1, RIGHT: 0.45})
    assert (run, chance) == (4, pytest.approx(chance_of_run(4, 11, 0.1)))
    assert longest_run(np.array([], dtype=np.int64), {}) == (0, 1.0)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_who_presses_one_button_is_flagged_and_honest_people_are_not(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = [[(0, FIRST), (1, FIRST)] for _ in range(40)]
    votes = votes_of(pairs)
    first_on_N = rng.choice([LEFT, RIGHT], size=80)
    first_on_N[1::2] = LEFT  # the second person's first answer is on the left, and wins: always the left button
    careful, liner = paces(replace(votes, first_on_N=first_on_N), np.arange(80))
    assert (careful.straight_lines, liner.straight_lines) == (False, True)
    assert liner.run == 40


def test_faster_than_anybody_reads_is_seen_when_it_is_the_habit() -> None:
    votes = votes_of([[(0, TIE), (1, TIE), (2, TIE)] for _ in range(12)])
    seconds = np.tile([1000 / SKIMMED - 1, 1000 / SKIMMED + 1, 0.0], 12)
    hasty, careful, unknown = paces(replace(votes, seconds_N=seconds), np.arange(36))
    assert (hasty.too_fast, careful.too_fast, unknown.too_fast) == (True, False, False)
    assert hasty.skimmed is not None
    assert (hasty.skimmed.value, hasty.skimmed.n) == (1.0, 12)
    assert (unknown.skimmed, unknown.seconds) == (None, None)
    two = replace(votes_of([[(0, TIE)], [(0, TIE)]]), seconds_N=np.array([1.0, 1.0]))
    assert not paces(two, np.arange(2))[0].too_fast


def test_runs_follow_the_order_in_time_and_need_sides() -> None:
    votes = votes_of([[(0, FIRST)], [(0, TIE)], [(0, FIRST)], [(0, FIRST)]])
    assert paces(votes, np.array([0, 2, 1, 3]))[0].run == 2
    assert paces(votes, np.array([1, 0, 2, 3]))[0].run == 3
    blind = replace(votes, first_on_N=np.full(4, UNSEEN))
    assert paces(blind, np.arange(4))[0].run == 0
