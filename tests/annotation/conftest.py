"""A project with a manager and two annotators, a stranger, and comparisons to judge."""

from collections.abc import Callable

import pytest
from django.test import Client

from annotation.models import Comparison, Project, Role, User
from annotation.services import AnswerIn, add_comparison, create_project, set_role

PASSWORD = "correct horse battery staple"

MakeComparison = Callable[..., Comparison]


def make_user(name: str, **more: object) -> User:
    return User.objects.create_user(username=name, password=PASSWORD, **more)


@pytest.fixture
def manager(db: None) -> User:
    return make_user("mara", display_name="Mara")


@pytest.fixture
def ann(db: None) -> User:
    return make_user("ann")


@pytest.fixture
def ben(db: None) -> User:
    return make_user("ben")


@pytest.fixture
def stranger(db: None) -> User:
    return make_user("stranger")


@pytest.fixture
def project(manager: User, ann: User, ben: User) -> Project:
    project = create_project(name="Everyday help", guidelines="Be **fair**.", manager=manager)
    for person in (ann, ben):
        set_role(project=project, person=person, role=Role.ANNOTATOR)
    return project


@pytest.fixture
def make_comparison(project: Project) -> MakeComparison:
    made = 0

    def make(**more: object) -> Comparison:
        nonlocal made
        made += 1
        asked = [{"role": "user", "content": f"Question {made}?"}]
        answers = [AnswerIn(f"First answer {made}", author_label="model-one"), AnswerIn(f"Second answer {made}")]
        comparison = add_comparison(**{"project": project, "messages": asked, "responses": answers, **more})
        # Lots past 1 in order of age: the random arm, which begins between 0 and 1, takes the oldest too.
        Comparison.objects.filter(pk=comparison.pk).update(lot=comparison.pk)
        return comparison

    return make


@pytest.fixture
def signed_in(client: Client) -> Callable[[User], Client]:
    def sign_in(user: User) -> Client:
        client.force_login(user)
        return client

    return sign_in
