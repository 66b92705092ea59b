"""The front page, a project's page, its settings and its members."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotation import archiving, audit, services
from annotation.access import (
    SignedInRequest,
    get_project_for_annotator,
    get_project_for_manager,
    is_manager,
    require_staff,
)
from annotation.assigning import shortages_in
from annotation.forms import MemberForm, ProjectForm, SettingsForm
from annotation.inviting import InviteForm
from annotation.models import Flag, Judgment, Lease, Preference, Project, Role, VoteCount
from annotation.people import comes_in_again
from annotation.regroup import follow_kind
from annotation.sources import sources_of
from annotation.standings import waiting_in
from annotation.work import progress

LAST_VOTES = 10
LAST_MANAGER = gettext_lazy("A project keeps at least one manager. Make somebody else a manager first.")


@login_required
@require_safe
def home(request: SignedInRequest) -> HttpResponse:
    """The projects I am in, each with its progress and its one big button."""
    mine = Project.objects.visible_to(request.user).active()
    projects = mine.with_progress().with_votes_of(request.user).order_by("name")
    context = {
        "projects": projects,
        "archived": Project.objects.managed_by(request.user).archived().order_by("name"),
        "ended": Project.objects.visible_to(request.user).archived().order_by("name"),
        "comes_in_again": comes_in_again(request.user),
        "section": "projects",
    }
    return render(request, "annotation/home.html", context)


@login_required
@require_safe
def show(request: SignedInRequest, slug: str) -> HttpResponse:
    """One project: progress for everybody; people, votes and training for its managers."""
    project = get_project_for_annotator(request, slug)
    manages = is_manager(request, project)
    context = {
        "project": project,
        "progress": progress(project, request.user),
        "manages": manages,
        "reviews": manages or Project.objects.reviewed_by(request.user).filter(pk=project.pk).exists(),
        "section": "projects",
    }
    if manages:
        votes = Judgment.objects.standing().in_project(project)
        context |= {
            "people": project.memberships.with_votes(),
            "held": Lease.objects.live().filter(comparison__project=project).select_related("annotator"),
            "sources": VoteCount.objects.of_sources(project),
            "last_votes": votes.select_related("annotator", "comparison__prompt").latest_first()[:LAST_VOTES],
            "preferences": Preference.objects.filter(project=project).count(),
            "answers_from": sources_of(project),
            "waiting": waiting_in(project),
            "open_flags": Flag.objects.unsettled().in_project(project).count(),
        }
    return render(request, "annotation/project.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def create(request: SignedInRequest) -> HttpResponse:
    require_staff(request)
    form = ProjectForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        project = services.create_project(**form.cleaned_data, manager=request.user)
        messages.success(request, _("The project is made. Import prompts and answers to have something to label."))
        return redirect(project)
    return render(request, "annotation/project_form.html", {"form": form, "section": "projects"})


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: SignedInRequest, slug: str) -> HttpResponse:
    project = get_project_for_manager(request, slug)
    form = SettingsForm(request.POST or None, instance=project)
    if request.method == "POST" and form.is_valid():
        form.save()
        if "kind" in form.changed_data:
            follow_kind(project)
        audit.tell(request, form.changed_words())
        messages.success(request, _("Saved."))
        return redirect(project)
    return render(request, "annotation/project_form.html", {"form": form, "project": project, "section": "projects"})


@login_required
@require_POST
def archive(request: SignedInRequest, slug: str) -> HttpResponse:
    """End the project's work, or take it up again (`reopen`)."""
    project = get_project_for_manager(request, slug)
    if "reopen" in request.POST:
        archiving.reopen(project=project, by=request.user)
        messages.success(request, _("The project is open again, as it was left."))
    else:
        archiving.archive(project=project, by=request.user)
        messages.success(request, _("The project is archived. Nothing of it is lost, and it can be reopened."))
    return redirect("project-settings", project.slug)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def members(request: SignedInRequest, slug: str) -> HttpResponse:
    """Who may do what here. Adding somebody who is in already gives them the new role."""
    project = get_project_for_manager(request, slug)
    form = MemberForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            role = Role(form.cleaned_data["role"])
            member = services.set_role(project=project, person=form.person(), role=role, by=request.user)
        except services.LastManagerError:
            messages.error(request, LAST_MANAGER)
        else:
            words = _("%(person)s is a member now: %(role)s.")
            messages.success(request, words % {"person": member.user, "role": member.get_role_display()})
        return redirect("members", project.slug)
    people = project.memberships.select_related("user").order_by("user__username")
    context = {
        "project": project,
        "form": form,
        "invite_form": InviteForm(),
        "people": people,
        "section": "projects",
    }
    return render(request, "annotation/members.html", context)


@login_required
@require_POST
def remove_member(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    """Votes stay; what the person holds goes back to the queue."""
    project = get_project_for_manager(request, slug)
    membership = get_object_or_404(project.memberships.select_related("user"), pk=pk)
    before = shortages_in(project)
    try:
        services.remove_member(membership, by=request.user)
    except services.LastManagerError:
        messages.error(request, LAST_MANAGER)
    else:
        messages.success(
            request, _("%(person)s is no member any more. Their votes stay.") % {"person": membership.user}
        )
        if shortages_in(project) != before:
            messages.warning(request, _("Too few people are left for a batch of theirs: see Queue, Assignment."))
    return redirect("members", project.slug)
