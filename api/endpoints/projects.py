"""Projects: those one is in, and for managers their settings, their end and their return."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from django.db.models import Prefetch
from django.forms.models import model_to_dict
from django.http import HttpResponse
from ninja import Query, Router, Schema
from ninja.responses import Status
from pydantic import AfterValidator, Field

from annotation import archiving, audit
from annotation.access import get_project_for_annotator, get_project_for_manager, require_staff
from annotation.forms import MOST_ASPECTS, MOST_TAGS, ProjectForm
from annotation.models import Membership, Project, Role, User
from annotation.models.projects import ProjectQuerySet
from annotation.regroup import follow_kind
from annotation.services import create_project
from api.auth import ApiRequest, needs
from api.errors import FieldOut, invalid_fields
from api.fields import Text, Words, replies
from api.models import Scope
from api.once import IdempotencyKey, once
from api.paging import Page, Paging, page_of
from api.strict import Body

router = Router(tags=["projects"])
Kind = Literal["pairs", "ranking", "single"]


class ProgressOut(Schema):
    """Judgments: wanted in all, given by all, given by me."""

    wanted: int
    done: int
    mine: int


class ProjectOut(Schema):
    """`role` is null for a site admin who is no member; `manages` says whether one may change and read all of it."""

    slug: str
    name: str
    guidelines: str
    overlap: float
    kind: Kind
    asks_strength: bool
    offers_both_good: bool
    asks_acceptability: bool
    aspects: list[str]
    reason_tags: list[str]
    asks_reason: bool
    offers_edit: bool
    role: str | None
    manages: bool
    progress: ProgressOut
    created_at: datetime
    archived_at: datetime | None


# Kept with two decimals.
Overlap = Annotated[float, Field(ge=1, le=50), AfterValidator(lambda number: round(number, 2))]
ABOUT_OVERLAP = "How many people judge each new comparison. 1.2: one in five is judged twice. Rounded to two decimals."
ABOUT_KIND = "What the answers to one prompt become: two at a time, all in order, or one at a time."


def _different(names: list[str]) -> list[str]:
    if len({name.strip() for name in names}) < len(names):
        raise ValueError("A name is there twice.")
    return names


# The pattern tells programs what the form of the pages says to people: there a comma parts two names.
Name = Annotated[Words, Field(max_length=40, json_schema_extra={"pattern": "^[^\\u0000,]*[^\\s\\u0000,][^\\u0000,]*$"})]
Names = Annotated[list[Name], AfterValidator(_different), Field(json_schema_extra={"uniqueItems": True})]
Title = Annotated[Words, Field(max_length=120)]


class ProjectIn(Body):
    name: Title
    guidelines: Text = Field("", max_length=100_000, description="Markdown, shown beside the labelling page.")
    overlap: Overlap = Field(1, description=ABOUT_OVERLAP)
    kind: Kind = Field("pairs", description=ABOUT_KIND)
    asks_strength: bool = Field(True, description="Ask how much better: slightly, clearly, much.")
    offers_both_good: bool = Field(False, description="Offer “both good” beside “both bad”.")
    asks_acceptability: bool = Field(False, description="Ask of each answer whether it will do.")
    aspects: Names = Field([], max_length=MOST_ASPECTS, description="Each gets a vote of its own.")
    reason_tags: Names = Field([], max_length=MOST_TAGS, description="Reasons to tick.")
    asks_reason: bool = Field(False, description="Offer a field for the reason.")
    offers_edit: bool = Field(False, description="Offer to edit an answer; the edit counts as better than it.")


class ProjectPatch(Body):
    """Only what is given is changed. Comparisons that exist keep their number of judgments."""

    # The defaults stand for what is not given; nobody reads them.
    name: Title = Field(default_factory=str)
    guidelines: Text = Field(default_factory=str, max_length=100_000)
    overlap: Overlap = Field(default_factory=float, description=ABOUT_OVERLAP)
    kind: Kind = Field(default_factory=lambda: "pairs", description=ABOUT_KIND)
    asks_strength: bool = Field(default_factory=bool)
    offers_both_good: bool = Field(default_factory=bool)
    asks_acceptability: bool = Field(default_factory=bool)
    aspects: Names = Field(default_factory=list, max_length=MOST_ASPECTS)
    reason_tags: Names = Field(default_factory=list, max_length=MOST_TAGS)
    asks_reason: bool = Field(default_factory=bool)
    offers_edit: bool = Field(default_factory=bool)


class ProjectQuery(Schema):
    """Which projects."""

    archived: bool = Field(False, description="Instead of those in use, the archived ones that one manages.")


@router.get("/projects", auth=needs(Scope.PROJECTS_READ), response=replies(Page[ProjectOut]))
def list_projects(request: ApiRequest, page: Paging, which: Query[ProjectQuery]) -> Page[ProjectOut]:
    """The projects one is in, without the archived ones; a site admin sees all."""
    if which.archived:
        found = Project.objects.managed_by(request.user).archived()
    else:
        found = Project.objects.visible_to(request.user).active()
    rows = _with_my_part(found, request.user)
    return page_of(rows, page, lambda found: [_out(project, request.user) for project in found])


@router.post("/projects", auth=needs(Scope.PROJECTS_WRITE), response=replies(ProjectOut, status=201))
def new_project(
    request: ApiRequest, response: HttpResponse, body: ProjectIn, idempotency_key: IdempotencyKey = None
) -> Status[ProjectOut]:
    """Make a project and manage it. For people who run the site, as on the pages."""
    require_staff(request)

    def make() -> ProjectOut:
        form = _checked(ProjectForm(body.model_dump()))
        return _fresh(create_project(**form.cleaned_data, manager=request.user), request.user)

    return Status(201, once(request, response, idempotency_key, body, ProjectOut, make))


@router.get("/projects/{slug:slug}", auth=needs(Scope.PROJECTS_READ), response=replies(ProjectOut, 404))
def show_project(request: ApiRequest, slug: str) -> ProjectOut:
    return _fresh(get_project_for_annotator(request, slug), request.user)


@router.patch("/projects/{slug:slug}", auth=needs(Scope.PROJECTS_WRITE), response=replies(ProjectOut, 404))
def change_project(request: ApiRequest, slug: str, body: ProjectPatch) -> ProjectOut:
    """Change settings. For the project's managers."""
    project = get_project_for_manager(request, slug)
    before = model_to_dict(project, ProjectForm.Meta.fields)
    form = _checked(ProjectForm(before | body.model_dump(exclude_unset=True), instance=project))
    form.save()
    if "kind" in form.changed_data:
        follow_kind(project)
    audit.tell(request, form.changed_words())
    return _fresh(project, request.user)


@router.post("/projects/{slug:slug}/archive", auth=needs(Scope.PROJECTS_WRITE), response=replies(ProjectOut, 404))
def archive_project(request: ApiRequest, slug: str) -> ProjectOut:
    """End the project's work: nobody gets pairs any more, and its schedules stand still. Nothing of it is lost.

    For the project's managers. An archived project keeps the day on which it was archived.
    """
    project = get_project_for_manager(request, slug)
    archiving.archive(project=project, by=request.user)
    return _fresh(project, request.user)


@router.post("/projects/{slug:slug}/reopen", auth=needs(Scope.PROJECTS_WRITE), response=replies(ProjectOut, 404))
def reopen_project(request: ApiRequest, slug: str) -> ProjectOut:
    """Take an archived project up again where it was left. For the project's managers. An open one stays open."""
    project = get_project_for_manager(request, slug)
    archiving.reopen(project=project, by=request.user)
    return _fresh(project, request.user)


def _checked(form: ProjectForm) -> ProjectForm:
    """The form of the pages, valid. Raises Problem 422 with what it says."""
    if not form.is_valid():
        raise invalid_fields(
            [FieldOut(where=name, problem=str(reason)) for name, reasons in form.errors.items() for reason in reasons]
        )
    return form


def _fresh(project: Project, user: User) -> ProjectOut:
    return _out(_with_my_part(Project.objects.filter(pk=project.pk), user).get(), user)


def _with_my_part(projects: ProjectQuerySet, user: User) -> ProjectQuerySet:
    mine = Prefetch("memberships", Membership.objects.filter(user=user), to_attr="mine")
    return projects.with_progress().with_votes_of(user).prefetch_related(mine)


def _out(project: Any, user: User) -> ProjectOut:
    """`project` comes from `_with_my_part`, which adds what the type of a project does not know."""
    role = project.mine[0].role if project.mine else None
    return ProjectOut(
        slug=project.slug,
        name=project.name,
        guidelines=project.guidelines,
        overlap=float(project.overlap),
        kind=project.kind,
        asks_strength=project.asks_strength,
        offers_both_good=project.offers_both_good,
        asks_acceptability=project.asks_acceptability,
        aspects=project.aspects,
        reason_tags=project.reason_tags,
        asks_reason=project.asks_reason,
        offers_edit=project.offers_edit,
        role=role,
        manages=user.is_superuser or role == Role.MANAGER,
        progress=ProgressOut(wanted=project.judgments_wanted, done=project.judgments_done, mine=project.votes_by_me),
        created_at=project.created_at,
        archived_at=project.archived_at,
    )
