"""What the labelling page asks of a large database: no statement reads a large table from end to end."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from annotation import hand_out
from annotation.models import Arm, Batch, Comparison, Lease, Project, User
from bench.queue_load import seeding
from bench.queue_load.plans import nodes, scans, statements

ROWS = 30_000

# Half of the comparisons have two of the three judgments they want, one of them is ann's.
JUDGED = """
INSERT INTO annotation_judgment (comparison_id, annotator_id, seat, seats, tiers, both_bad, reason, shown_order,
                                 active_seconds, created_at)
SELECT id, %(annotator)s, %(seat)s, 3, '[]', false, '', response_ids, 30, now() - (id || ' s')::interval
  FROM annotation_comparison WHERE project_id = %(project)s AND id %% 2 = 0
"""


@pytest.fixture
def large(ann: User, ben: User, transactional_db: None) -> Project:
    project, _ = seeding.seed(comparisons=ROWS, people=1, overlap=3)
    for person in (ann, ben):
        project.memberships.create(user=person)
    with connection.cursor() as cursor:
        for seat, person in ((1, ann), (2, ben)):
            cursor.execute(JUDGED, {"annotator": person.pk, "seat": seat, "project": project.pk})
        cursor.execute("UPDATE annotation_comparison SET depth = 2 WHERE project_id = %s AND id %% 2 = 0", [project.pk])
        cursor.execute("VACUUM ANALYZE")
    return project


@pytest.mark.parametrize("given", [False, True])
def test_no_statement_of_the_labelling_page_reads_a_large_table_to_its_end(
    large: Project, ann: User, client: Client, monkeypatch: pytest.MonkeyPatch, given: bool
) -> None:
    if given:
        batch = Batch.objects.create(project=large, name="hers")
        batch.people.add(ann)
        Comparison.objects.filter(project=large, id__gt=ROWS // 2).update(batch=batch)
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
    client.force_login(ann)
    for arms in ([Arm.ORDER], [Arm.RANDOM], [Arm.GOLD, Arm.REPEAT, Arm.ORDER]):
        monkeypatch.setattr(hand_out, "drawn_arms", lambda project, arms=arms: arms)
        Lease.objects.all().delete()  # else the pair that is held would be shown again

        asked = statements(client, reverse("label", args=[large.slug]))

        assert len(asked) > 10
        assert {query: found for query in asked if (found := scans(query))} == {}


def test_the_check_of_plans_sees_a_scan(large: Project) -> None:
    assert scans("SELECT sum(depth) FROM annotation_comparison") == ["annotation_comparison"]


def test_a_hand_out_looks_at_no_more_rows_than_it_says(
    large: Project, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ann has judged the whole head of the queue: what is left of the search is bounded."""
    Comparison.objects.filter(project=large, id__gt=1).update(depth=2)
    monkeypatch.setattr(hand_out, "MOST_LOOKED_AT", 50)
    place = hand_out.Place.of(large, ann)
    with CaptureQueriesContext(connection) as captured:
        next(hand_out._in_order(place), None)
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {captured.captured_queries[-1]['sql']}")
        plan = cursor.fetchone()[0][0]["Plan"]
    read = [node["Actual Rows"] for node in nodes(plan) if node.get("Index Name") == "open_comparisons"]
    assert read
    assert max(read) <= 50
