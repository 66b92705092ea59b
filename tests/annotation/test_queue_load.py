"""A small crowd in front of a real web server, killed at random: what `python -m bench.queue_load` proves with 200."""

from dataclasses import replace
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.urls import reverse

from annotation import queue
from annotation.models import Judgment, Project, Response, User
from annotation.queue import Ticket
from bench.queue_load import proof, seeding
from bench.queue_load.client import Orders
from bench.queue_load.crowd import Line, work
from bench.queue_load.server import errors_in, web_server

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
        gone=0.04,
        abandoned=0.06,
        dawdled=0.03,
        hung_up=0.06,
        away_seconds=LEASE_SECONDS + 1,
    )


@pytest.mark.django_db(transaction=True)
def test_a_crowd_that_is_killed_at_random_loses_and_doubles_nothing(orders: Orders, tmp_path: Path) -> None:
    project, seats = seeding.seed(comparisons=50, people=24, overlap=3, gold=4)
    path, log = reverse("label", args=[project.slug]), tmp_path / "web.log"
    with web_server(processes=2, lease_seconds=LEASE_SECONDS, log=log) as port:
        orders = replace(orders, port=port, path=path)
        lines = work(orders, seats, processes=4, folder=tmp_path / "crowd", kill_every=0.7)

    found = proof.find(project, lines, server_errors=errors_in(log))

    assert found.is_exact, found
    assert min(found.kills, found.gone, found.hung_up, found.abandoned) > 0, found
    assert found.handed_out_again == found.left > 0  # whoever left a pair, others have finished it
    assert found.confirmed > 80  # of 150 votes on work; the others' confirmations were never read


@pytest.fixture
def judged(transactional_db: None) -> tuple[Project, list[Line]]:
    """Two people have judged two comparisons, and it went well."""
    project, seats = seeding.seed(comparisons=2, people=2, overlap=2)
    lines = []
    for seat in seats:
        person = User.objects.get(pk=seat.person)
        while lease := queue.lease_next(project=project, annotator=person):
            ticket = Ticket.sign(lease)
            seen = [Response.objects.get(pk=pk).text.split(".")[0] for pk in lease.shown_order]
            queue.submit_judgment(
                ticket=Ticket.read(ticket, project=project, annotator=person), annotator=person, choice="b2"
            )
            for what, said in (("got", []), ("sent", [*seen, "b2"]), ("voted", [])):
                lines.append(Line(what, person.pk, ticket, 0.01, 0.0, said))
    return project, lines


# What would be found, had something gone wrong in just that way; the database itself would not let most of it happen.
WRONGS = (
    (
        "duplicates",
        """UPDATE annotation_judgment SET annotator_id = (SELECT min(annotator_id) FROM annotation_judgment),
                  withdrawn_at = now() WHERE id = (SELECT max(id) FROM annotation_judgment)""",
    ),
    ("over_their_number", "UPDATE annotation_comparison SET judgments_wanted = 1 WHERE id = {comparison}"),
    ("lost", "DELETE FROM annotation_judgment WHERE id = {judgment}"),
    ("misread", "UPDATE annotation_judgment SET tiers = jsonb_build_array(tiers->1, tiers->0) WHERE id = {judgment}"),
    ("miscounted", "UPDATE annotation_comparison SET depth = 1 WHERE id = {comparison}"),
    ("wrong_triples", "DELETE FROM annotation_preference WHERE judgment_id = {judgment}"),
    ("wrong_progress", "UPDATE annotation_votecount SET votes = votes + 1 WHERE annotator_id = {person}"),
    ("unfinished", "UPDATE annotation_comparison SET closed_at = NULL WHERE id = {comparison}"),
    ("wrong_progress", "DELETE FROM annotation_votecount WHERE annotator_id = {person}"),
)


def test_the_proof_sees_each_thing_that_could_be_wrong(judged: tuple[Project, list[Line]]) -> None:
    project, lines = judged
    assert proof.find(project, lines, server_errors=0).is_exact
    one = Judgment.objects.order_by("pk")[0]
    names = {"judgment": one.pk, "comparison": one.comparison_id, "person": one.annotator_id}
    seen = {}
    for name, wrong in WRONGS:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")  # no trigger and no foreign key mends it
            cursor.execute(wrong.format(**names))
            found = proof.find(project, lines, server_errors=0)
            seen[wrong] = (getattr(found, name), found.is_exact)
            transaction.set_rollback(True)

    assert seen == {wrong: (1, False) for _name, wrong in WRONGS}


def test_an_error_of_the_server_is_seen_in_its_log(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    line = '127.0.0.1 - - [22/Nov/2026:05:10:00 +0000] "POST /projects/a/label/ HTTP/1.1" {} 145 "-" "-"\n'
    log.write_text("[INFO] Booting\n" + "".join(line.format(status) for status in (200, 302, 500, 503)))
    assert errors_in(log) == 2
