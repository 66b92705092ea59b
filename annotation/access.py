"""Who may be here: the first line of every view of a project. A stranger gets 404, as for a project that is not."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404

from annotation.asking import ask_for
from annotation.models import Project, User


class SignedInRequest(HttpRequest):
    """A request behind `login_required`, for the type checker."""

    user: User


def _found(projects: QuerySet[Project], slug: str) -> Project:
    return get_object_or_404(projects, slug=slug)


# With every pair and every vote, so by hand: what `visible_to` says, in a quarter of the time.
VISIBLE = """
SELECT {columns} FROM annotation_project
 WHERE slug = %(slug)s AND (%(sees_all)s OR EXISTS (
       SELECT FROM annotation_membership member
        WHERE member.project_id = annotation_project.id AND member.user_id = %(person)s))
"""


def get_project_for_annotator(request: SignedInRequest, slug: str) -> Project:
    """The project, for its members of every role and for site admins."""
    person = request.user
    found = ask_for(Project, VISIBLE, {"slug": slug, "sees_all": person.is_superuser, "person": person.pk})
    if not found:
        raise Http404
    return found[0]


def get_project_for_manager(request: SignedInRequest, slug: str) -> Project:
    """The project, for its managers and for site admins."""
    return _found(Project.objects.managed_by(request.user), slug)


def get_project_for_reviewer(request: SignedInRequest, slug: str) -> Project:
    """The project, for its reviewers and managers and for site admins."""
    return _found(Project.objects.reviewed_by(request.user), slug)


def is_manager(request: SignedInRequest, project: Project) -> bool:
    """Whether this person manages the project, as site admins do."""
    return Project.objects.managed_by(request.user).filter(pk=project.pk).exists()


def require_site_admin(request: SignedInRequest) -> None:
    """Raises Http404 for everybody but site admins, who may see what everybody does."""
    if not request.user.is_superuser:
        raise Http404


def require_staff(request: SignedInRequest) -> None:
    """Raises PermissionDenied for people who do not run the site."""
    if not request.user.is_staff:
        raise PermissionDenied
