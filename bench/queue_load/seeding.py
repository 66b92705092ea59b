"""A project with as many comparisons as one likes, people in it, and a session for each of them.

Ten comparisons on each prompt, of the pairs of its five answers; texts of some 700 characters of Markdown that all
differ. Part of the work may have been done before, one judgment on each of the first comparisons, dealt out to the
people; and there may be gold pairs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.utils.timezone import now

from annotation.models import Membership, Project, Role, User
from annotation.models.content import MOST_JUDGMENTS
from annotation.services import create_project

ANSWERS, PAIRS = 5, 10

PROMPTS = """
INSERT INTO annotation_prompt (project_id, messages, metadata, content_hash, created_at)
SELECT %(project)s, jsonb_build_array(jsonb_build_object('role', 'user', 'content',
           'Question ' || n || '? ' || repeat(md5(n::text) || ' ', 4))), '{}', md5('p' || n), now()
  FROM generate_series(1, %(prompts)s) AS n
"""
RESPONSES = """
INSERT INTO annotation_response (prompt_id, text, author_label, sampling, content_hash, created_at)
SELECT id, 'Answer ' || n || ' to ' || id || '. ' || repeat(md5(id::text || n) || ' ', 9) || E'\n\n'
           || repeat('- **' || md5(id::text) || '** and `' || md5(n::text) || E'`\n', 4), '', '{}',
       md5(id::text || n), now()
  FROM annotation_prompt, generate_series(1, %(answers)s) AS n WHERE project_id = %(project)s ORDER BY id, n
"""
# Else the pairs would be looked for as in a small table, each in all the others.
COUNTED = "ANALYZE annotation_prompt, annotation_response"
COMPARISONS = """
INSERT INTO annotation_comparison
       (project_id, prompt_id, response_ids, purpose, priority, judgments_wanted, depth, created_at)
SELECT %(project)s, one.prompt_id, ARRAY[one.id, other.id], 'collect', 0, %(overlap)s,
       (row_number() OVER (ORDER BY one.id, other.id) <= %(judged)s)::int, now() - interval '30 days'
  FROM annotation_response one JOIN annotation_response other ON other.prompt_id = one.prompt_id AND other.id > one.id
  JOIN annotation_prompt ON annotation_prompt.id = one.prompt_id AND project_id = %(project)s
 ORDER BY one.id, other.id LIMIT %(comparisons)s
"""
JUDGMENTS = """
INSERT INTO annotation_judgment
       (comparison_id, annotator_id, seat, seats, tiers, both_bad, strength, reason, shown_order, active_seconds, arm,
        created_at)
SELECT id, (%(people)s::bigint[])[1 + id %% %(count)s], 1, judgments_wanted,
       jsonb_build_array(jsonb_build_array(response_ids[1]), jsonb_build_array(response_ids[2])), false, 1 + id %% 3,
       '', response_ids, 30, 'order', now() - (1 + random() * 20) * interval '1 day'
  FROM annotation_comparison WHERE project_id = %(project)s AND depth = 1
"""
PREFERENCES = """
INSERT INTO annotation_preference
       (project_id, prompt_id, chosen_id, rejected_id, judgment_id, strength, weight, created_at)
SELECT project_id, prompt_id, (tiers->0->>0)::bigint, (tiers->1->>0)::bigint, said.id, strength, 1, said.created_at
  FROM annotation_judgment said JOIN annotation_comparison ON annotation_comparison.id = comparison_id
 WHERE project_id = %(project)s
"""
GOLD = """
WITH pairs AS (
  INSERT INTO annotation_comparison
         (project_id, prompt_id, response_ids, purpose, priority, judgments_wanted, depth, created_at)
  SELECT project_id, prompt_id, response_ids, 'gold', 0, %(most)s, 0, now()
    FROM annotation_comparison WHERE project_id = %(project)s ORDER BY id DESC LIMIT %(gold)s
  RETURNING id, response_ids)
INSERT INTO annotation_gold (comparison_id, expected, both_bad, explanation, created_at)
SELECT id, jsonb_build_array(jsonb_build_array(response_ids[1]), jsonb_build_array(response_ids[2])), false, '', now()
  FROM pairs
"""


@dataclass(frozen=True)
class Seat:
    """A signed-in person: their id and the key of their session."""

    person: int
    session: str


def seed(*, comparisons: int, people: int, overlap: int, judged: int = 0, gold: int = 0) -> tuple[Project, list[Seat]]:
    """The project and its annotators, in one transaction; statistics are gathered afterwards.

    The first `judged` comparisons have one judgment each.
    """
    with transaction.atomic():
        project = create_project(name=name_for(comparisons), overlap=overlap)
        crowd = add_people(project, people)
        values: dict[str, int | list[int]] = {
            "project": project.pk,
            "prompts": -(-comparisons // PAIRS),
            "answers": ANSWERS,
            "overlap": overlap,
            "comparisons": comparisons,
            "judged": judged,
            "people": [person.pk for person in crowd],
            "count": people,
            "gold": gold,
            "most": MOST_JUDGMENTS,
        }
        with connection.cursor() as cursor:
            for query in (PROMPTS, RESPONSES, COUNTED, COMPARISONS, JUDGMENTS, PREFERENCES, GOLD):
                cursor.execute(query, values)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    return project, sign_in(crowd)


def name_for(comparisons: int) -> str:
    """The name of the project with so many."""
    return f"Load {comparisons}"


def add_people(project: Project, count: int) -> list[User]:
    """So many annotators of the project."""
    names = [f"{project.slug}-{n}" for n in range(count)]
    people = User.objects.bulk_create([User(username=name, password="!") for name in names])
    Membership.objects.bulk_create(Membership(project=project, user=one, role=Role.ANNOTATOR) for one in people)
    return people


def sign_in(people: Iterable[User]) -> list[Seat]:
    """A session for each, as signing in makes it."""
    store, seats, sessions = SessionStore(), [], []
    for person in people:
        said = {
            SESSION_KEY: str(person.pk),
            BACKEND_SESSION_KEY: settings.AUTHENTICATION_BACKENDS[0],
            HASH_SESSION_KEY: person.get_session_auth_hash(),
        }
        key = store._get_new_session_key()  # type: ignore[attr-defined]  # the stubs leave it out
        expires = now() + timedelta(days=1)
        sessions.append(Session(session_key=key, session_data=store.encode(said), expire_date=expires))
        seats.append(Seat(person.pk, key))
    Session.objects.bulk_create(sessions)
    return seats
