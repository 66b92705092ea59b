"""A project with as many comparisons as one likes, people in it, and a session for each of them.

Ten comparisons on each prompt, of the pairs of its five answers; texts of some 300 characters that all differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.utils.timezone import now

from annotation.models import Membership, Project, Role, User
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
SELECT id, 'Answer ' || n || ' to ' || id || '. ' || repeat(md5(id::text || n) || ' ', 9), '', '{}',
       md5(id::text || n), now()
  FROM annotation_prompt, generate_series(1, %(answers)s) AS n WHERE project_id = %(project)s ORDER BY id, n
"""
# Else the pairs would be looked for as in a small table, each in all the others.
COUNTED = "ANALYZE annotation_prompt, annotation_response"
COMPARISONS = """
INSERT INTO annotation_comparison
       (project_id, prompt_id, response_ids, purpose, priority, judgments_wanted, depth, created_at)
SELECT %(project)s, one.prompt_id, ARRAY[one.id, other.id], 'collect', 0, %(overlap)s, 0, now()
  FROM annotation_response one JOIN annotation_response other ON other.prompt_id = one.prompt_id AND other.id > one.id
  JOIN annotation_prompt ON annotation_prompt.id = one.prompt_id AND project_id = %(project)s
 ORDER BY one.id, other.id LIMIT %(comparisons)s
"""


@dataclass(frozen=True)
class Seat:
    """A signed-in person: their id and the key of their session."""

    person: int
    session: str


def seed(*, comparisons: int, people: int, overlap: int) -> tuple[Project, list[Seat]]:
    """The project and its annotators, in one transaction; statistics are gathered afterwards."""
    with transaction.atomic():
        project = create_project(name=f"Load {comparisons}", overlap=overlap)
        values = {
            "project": project.pk,
            "prompts": -(-comparisons // PAIRS),
            "answers": ANSWERS,
            "overlap": overlap,
            "comparisons": comparisons,
        }
        with connection.cursor() as cursor:
            for query in (PROMPTS, RESPONSES, COUNTED, COMPARISONS):
                cursor.execute(query, values)
        seats = add_people(project, people)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    return project, seats


def add_people(project: Project, count: int) -> list[Seat]:
    """So many annotators of the project, signed in."""
    names = [f"{project.slug}-{n}" for n in range(count)]
    people = User.objects.bulk_create([User(username=name, password="!") for name in names])
    Membership.objects.bulk_create(Membership(project=project, user=one, role=Role.ANNOTATOR) for one in people)
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
