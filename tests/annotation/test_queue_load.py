"""A small crowd in front of a real web server, killed at random: what `python -m bench.queue_load` proves with 200."""

from dataclasses import replace
from pathlib import Path

import pytest
from django.urls import reverse

from annotation.models import Project
from bench.queue_load import proof, seeding
from bench.queue_load.client import Orders
from bench.queue_load.crowd import work
from bench.queue_load.server import web_server

LEASE_SECONDS = 2


@pytest.fixture
def orders() -> Orders:
    return Orders(
        port=0,
        path="",
        seats=[],
        log="",
        seconds=90,
        seed=5,
        think_seconds=0.1,
        abandoned=0.06,
        hung_up=0.06,
        away_seconds=LEASE_SECONDS + 1,
    )


@pytest.mark.django_db(transaction=True)
def test_a_crowd_that_is_killed_at_random_loses_and_doubles_nothing(orders: Orders, tmp_path: Path) -> None:
    project, seats = seeding.seed(comparisons=80, people=24, overlap=3)
    path = reverse("label", args=[project.slug])
    with web_server(processes=2, lease_seconds=LEASE_SECONDS, log=tmp_path / "web.log") as port:
        lines = work(
            replace(orders, port=port, path=path), seats, processes=4, folder=tmp_path / "crowd", kill_every=0.7
        )

    found = proof.find(Project.objects.get(), lines)

    assert (found.duplicates, found.over_their_number, found.lost, found.miscounted) == (0, 0, 0, 0)
    assert found.unfinished == 0
    assert found.confirmed > 150  # of 240 votes; the others' confirmations were never read
    assert found.kills > 0
    assert found.hung_up > 0
    assert found.abandoned > 0
    assert found.handed_out_again == found.abandoned  # whoever left a pair, others have finished it
