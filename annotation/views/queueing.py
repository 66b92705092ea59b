"""Pages on which managers say what is handed out to whom: shares and caps, gold, teams and batches."""

from __future__ import annotations

from typing import TypeVar

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotation import assigning, audit, gold
from annotation.access import SignedInRequest, get_project_for_manager
from annotation.assigning import Shortage, TooFewPeopleError
from annotation.costs import costs_of
from annotation.importing.gold import BadLineError, import_gold
from annotation.models import Batch, Comparison, Gold, Membership, Project, Response, Team
from annotation.models.content import KNOWN
from annotation.queue_forms import BatchForm, CapForm, GoldFileForm, MarkForm, QueueForm, TeamForm
from annotation.standings import standings_of
from models_registry.sayings import said

PAGE = 25
Row = TypeVar("Row", bound=Model)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def settings(request: SignedInRequest, slug: str) -> HttpResponse:
    """How much of the work checks and trains people, and how much one person does in a day."""
    project = get_project_for_manager(request, slug)
    form = QueueForm(request.POST or None, instance=project)
    if request.method == "POST" and form.is_valid():
        form.save()
        audit.tell(request, form.changed_words())
        messages.success(request, _("Saved. It holds from the next pair that is handed out."))
        return redirect("queue-settings", project.slug)
    known = {
        purpose: Comparison.objects.filter(project=project, purpose=purpose, closed_at=None).count()
        for purpose in KNOWN
    }
    context = {"project": project, "form": form, "costs": costs_of(project), "known": known, "section": "projects"}
    return render(request, "annotation/queue_settings.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def gold_pairs(request: SignedInRequest, slug: str) -> HttpResponse:
    """Every pair whose answer is known, and the form that brings in a file of them."""
    project = get_project_for_manager(request, slug)
    form = GoldFileForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        purpose = Comparison.Purpose(form.cleaned_data["purpose"])
        try:
            count = import_gold(
                project=project, data=form.cleaned_data["file"].read(), purpose=purpose, by=request.user
            )
        except BadLineError as reason:
            form.add_error("file", _("%(reason)s Nothing was brought in.") % {"reason": said(str(reason))})
        else:
            audit.tell(request, f"{count} {purpose.value} pairs from {form.cleaned_data['file'].name}")
            messages.success(request, _brought(purpose, count))
            return redirect("gold", project.slug)
    found = Gold.objects.filter(comparison__project=project).with_results().order_by("-created_at", "-pk")
    context = {
        "project": project,
        "form": form,
        "page": Paginator(found, PAGE).get_page(request.GET.get("page")),
        "found": _search(project, request.GET.get("q", "").strip()),
        "q": request.GET.get("q", "").strip(),
        "section": "projects",
    }
    return render(request, "annotation/gold.html", context)


def _brought(purpose: Comparison.Purpose, count: int) -> str:
    """How many pairs of a file are here."""
    if purpose == Comparison.Purpose.GOLD:
        return ngettext("%(n)s gold pair is here.", "%(n)s gold pairs are here.", count) % {"n": count}
    return ngettext("%(n)s practice pair is here.", "%(n)s practice pairs are here.", count) % {"n": count}


def _search(project: Project, words: str) -> list[Comparison]:
    """Comparisons that can become gold, by words of their prompts, newest first."""
    if not words:
        return []
    work = Comparison.objects.filter(project=project, prompt__messages__icontains=words, response_ids__len=2).work()
    return list(work.select_related("prompt").order_by("-id")[:PAGE])


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def mark_gold(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    """Say what the answer to one comparison is, and why."""
    project = get_project_for_manager(request, slug)
    comparison = get_object_or_404(project.comparisons.select_related("prompt"), pk=pk, response_ids__len=2)
    known = Gold.objects.filter(comparison=comparison).first()
    form = MarkForm(request.POST or None, comparison=comparison, known=known)
    if request.method == "POST" and form.is_valid():
        try:
            gold.mark(comparison=comparison, by=request.user, **form.answer())
        except gold.StillOpenError:
            form.add_error(None, _("People are judging this pair. It can become gold when it has all its votes."))
        else:
            audit.tell(request, f"pair {pk}")
            messages.success(request, _("The answer is kept."))
            return redirect("gold", project.slug)
    texts = dict(Response.objects.filter(pk__in=comparison.response_ids).values_list("pk", "text"))
    answers = [(side, texts[pk]) for side, pk in zip("AB", comparison.response_ids, strict=True)]
    context = {"project": project, "comparison": comparison, "answers": answers, "form": form, "section": "projects"}
    return render(request, "annotation/mark_gold.html", context)


@login_required
@require_POST
def retire_gold(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    project = get_project_for_manager(request, slug)
    known = get_object_or_404(Gold, pk=pk, comparison__project=project)
    gold.retire(known)
    audit.tell(request, f"retired pair {known.comparison_id}")
    messages.success(request, _("It is handed out no more. What people said about it stays."))
    return redirect("gold", project.slug)


@login_required
@require_safe
def assignment(request: SignedInRequest, slug: str) -> HttpResponse:
    """Teams, batches, and each person's cap and training; `?team=` and `?batch=` open the form that changes one."""
    project = get_project_for_manager(request, slug)
    team = _chosen(Team.objects.filter(project=project), request.GET.get("team", ""))
    batch = _chosen(Batch.objects.filter(project=project), request.GET.get("batch", ""))
    return _assignment(
        request,
        project,
        team=TeamForm(instance=team, project=project) if team else None,
        batch=BatchForm(instance=batch, project=project) if batch else None,
    )


def _chosen(rows: QuerySet[Row], pk: str) -> Row | None:
    return rows.filter(pk=pk).first() if pk.isdecimal() and len(pk) < 19 else None


def _assignment(
    request: SignedInRequest,
    project: Project,
    *,
    team: TeamForm | None = None,
    batch: BatchForm | None = None,
    shortage: Shortage | None = None,
) -> HttpResponse:
    """The page; `shortage` is what keeps the batch in the form from being saved."""
    shortages = assigning.shortages_in(project)
    context = {
        "project": project,
        "teams": Team.objects.filter(project=project).prefetch_related("people"),
        "batches": [(batch, shortages.get(batch.pk)) for batch in assigning.batches_of(project)],
        "shortage": shortage,
        "people": standings_of(project),
        "team_form": team or TeamForm(project=project),
        "batch_form": batch or BatchForm(project=project),
        "section": "projects",
    }
    return render(request, "annotation/assignment.html", context)


@login_required
@require_POST
def save_team(request: SignedInRequest, slug: str, pk: int | None = None) -> HttpResponse:
    """Make a team, or change who is in it."""
    project = get_project_for_manager(request, slug)
    team = get_object_or_404(Team, pk=pk, project=project) if pk else Team(project=project)
    form = TeamForm(request.POST, instance=team, project=project)
    if not form.is_valid():
        return _assignment(request, project, team=form)
    form.save()
    audit.tell(request, f"team {team.name}" if pk else f"new team {team.name}")
    messages.success(request, _("The team %(team)s is saved.") % {"team": team})
    return redirect("assignment", project.slug)


@login_required
@require_POST
def delete_team(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    project = get_project_for_manager(request, slug)
    team = get_object_or_404(Team, pk=pk, project=project)
    team.delete()
    audit.tell(request, f"deleted team {team.name}")
    return redirect("assignment", project.slug)


@login_required
@require_POST
def save_batch(request: SignedInRequest, slug: str, pk: int | None = None) -> HttpResponse:
    """Make a batch of open comparisons, add to one, or give it to other people."""
    project = get_project_for_manager(request, slug)
    form = _batch_form(request, project, pk)
    if not form.is_valid():
        return _assignment(request, project, batch=form)
    try:
        added = form.save_and_fill(anyway="anyway" in request.POST)
    except TooFewPeopleError as error:
        return _assignment(request, project, batch=_batch_form(request, project, pk), shortage=error.shortage)
    audit.tell(request, f"batch {form.instance.name}" if pk else f"new batch {form.instance.name}")
    words = ngettext("%(n)s comparison was added to %(batch)s.", "%(n)s comparisons were added to %(batch)s.", added)
    if added or not form.cleaned_data["most"]:
        messages.success(request, words % {"n": added, "batch": form.instance})
    else:
        messages.warning(
            request,
            _("%(batch)s is saved, but no open comparison outside of batches fits what was asked.")
            % {"batch": form.instance},
        )
    return redirect("assignment", project.slug)


def _batch_form(request: SignedInRequest, project: Project, pk: int | None) -> BatchForm:
    batch = get_object_or_404(Batch, pk=pk, project=project) if pk else Batch(project=project)
    return BatchForm(request.POST, instance=batch, project=project)


@login_required
@require_POST
def delete_batch(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    project = get_project_for_manager(request, slug)
    batch = get_object_or_404(Batch, pk=pk, project=project)
    freed = assigning.dissolve(batch)
    audit.tell(request, f"dissolved batch {batch.name}")
    words = ngettext(
        "Dissolved. Its %(n)s comparison is open to all.", "Dissolved. Its %(n)s comparisons are open to all.", freed
    )
    messages.success(request, words % {"n": freed})
    return redirect("assignment", project.slug)


@login_required
@require_POST
def change_person(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    """One person's cap; or an end to their training phase, or a new start of it."""
    project = get_project_for_manager(request, slug)
    member = get_object_or_404(project.memberships.select_related("user"), pk=pk)
    if "let_in" in request.POST:
        gold.let_in(project, member.user)
        audit.tell(request, "let in", subject=member.user)
    elif "again" in request.POST:
        gold.practise_again(project, member.user)
        audit.tell(request, "back to practice", subject=member.user)
    else:
        _change_cap(request, member)
    return redirect("assignment", project.slug)


def _change_cap(request: SignedInRequest, member: Membership) -> None:
    form = CapForm(request.POST, instance=member)
    if form.is_valid():
        form.save()
        cap = f"{member.daily_cap} a day" if member.daily_cap else "no cap"
        audit.tell(request, cap, subject=member.user)
        messages.success(request, _("The cap of %(person)s is saved.") % {"person": member.user})
    else:
        words = _("The cap of %(person)s was not changed: a whole number from 1 to 10,000, or nothing.")
        messages.error(request, words % {"person": member.user})
