"""IDOR: a number or a ticket that belongs to somebody else opens nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from annotation import queue
from annotation.models import Judgment, Lease, Project, Skip, User
from annotation.queue import Ticket
from tests.annotation.conftest import MakeComparison
from tests.safety.asking import DENIED, RULED, client_of, outcome
from tests.safety.rules import Who
from tests.safety.world import World


def test_no_address_mixes_two_projects(own_world: World) -> None:
    """A manager who puts another project's things into an address of their own gets 404, whatever the method."""
    client, tried, open_doors = client_of(own_world, Who.MANAGER), 0, []
    for address, rule in RULED:
        if not hasattr(own_world.mine, rule.at) or Who.MANAGER not in rule.who:
            continue
        mine, theirs = getattr(own_world.mine, rule.at), getattr(own_world.theirs, rule.at)
        for name in (name for name in address.parameters if mine[name] != theirs[name]):
            tried += 1
            path = address.path({**mine, name: theirs[name]})
            open_doors += [
                (method, path) for method in sorted(rule.methods) if outcome(client, method, path)[0] != DENIED
            ]
    assert open_doors == []
    assert tried > 20


@pytest.mark.parametrize("name", ["label", "skip", "heartbeat"])
def test_a_colleagues_ticket_does_nothing(
    signed_in: Callable[[User], Client],
    project: Project,
    ann: User,
    ben: User,
    make_comparison: MakeComparison,
    name: str,
) -> None:
    make_comparison()
    lease = queue.lease_next(project=project, annotator=ann)
    assert lease is not None
    stolen = {"ticket": Ticket.sign(lease), "choice": "a2", "skip": "not mine", "strength": "2"}
    answer = signed_in(ben).post(reverse(name, args=[project.slug]), stolen)
    assert answer.status_code in (302, 409)
    assert not Judgment.objects.exists()
    assert not Skip.objects.exists()
    assert Lease.objects.get(annotator=ann) == lease
