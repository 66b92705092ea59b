"""Who gets a project for labelling: the statement by hand says what `visible_to` says."""

import pytest
from django.http import Http404
from django.test import RequestFactory

from annotation.access import get_project_for_annotator
from annotation.models import Project, Role, User
from annotation.services import create_project, set_role
from tests.annotation.conftest import make_user


@pytest.mark.parametrize("role", [*Role.values, "admin", "stranger", "member elsewhere"])
def test_a_project_is_found_by_those_who_may_see_it(project: Project, role: str) -> None:
    person, elsewhere = make_user("somebody"), create_project(name="Elsewhere", overlap=1)
    if role in Role.values:
        set_role(project=project, person=person, role=Role(role))
    elif role == "admin":
        User.objects.filter(pk=person.pk).update(is_superuser=True)
    elif role == "member elsewhere":
        set_role(project=elsewhere, person=person, role=Role.MANAGER)
    request = RequestFactory().get("/")
    request.user = User.objects.get(pk=person.pk)

    visible = list(Project.objects.visible_to(request.user).filter(slug=project.slug))

    assert bool(visible) == (role in [*Role.values, "admin"])
    if visible:
        assert get_project_for_annotator(request, project.slug) == project  # type: ignore[arg-type]  # a plain request
    else:
        with pytest.raises(Http404):
            get_project_for_annotator(request, project.slug)  # type: ignore[arg-type]  # as above
