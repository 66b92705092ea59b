"""A project's webhooks and the log of what they were told. For its managers."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotation import audit
from annotation.access import SignedInRequest, get_project_for_manager
from annotation.models import Project
from api.forms import WebhookForm
from api.models import Webhook
from api.signing import secret_of
from api.webhooks import MOST_ATTEMPTS, ToldAlreadyError, make_webhook, name_in_log, ping, renew_secret
from api.webhooks import send_again as start_over

SHOWN_DELIVERIES = 100
BY_HAND = gettext_noop("Turned off by hand; the log says by whom.")


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def webhooks(request: SignedInRequest, slug: str) -> HttpResponse:
    """The list and the form. The answer to POST is the only page that shows the new secret."""
    project = get_project_for_manager(request, slug)
    form = WebhookForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            made = make_webhook(
                project=project,
                url=form.cleaned_data["url"],
                events=form.cleaned_data["events"],
                created_by=request.user,
            )
            return _page(request, made, secret=secret_of(made))
        except ToldAlreadyError:
            form.add_error("url", _("This address is told already. Remove its webhook below, or take another address."))
    context = {
        "project": project,
        "form": form,
        "webhooks": project.webhooks.with_last_delivery(),
        "section": "projects",
    }
    return render(request, "api/webhooks.html", context)


@login_required
@require_safe
def webhook(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    """One webhook and its log."""
    return _page(request, _found(get_project_for_manager(request, slug), pk))


@login_required
@require_POST
def test(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    found = _found(get_project_for_manager(request, slug), pk)
    if found.off_at is None:
        ping(found)
        messages.info(request, _("A test is on its way; reload to see how it went."))
    else:
        messages.warning(request, _("The webhook is off. Turn it on first."))
    return redirect("webhook", slug, pk)


@login_required
@require_POST
def switch(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    """Turn it off, or on again."""
    found = _found(get_project_for_manager(request, slug), pk)
    off = Webhook.objects.turn_off(found.pk, why=BY_HAND)
    if not off:
        Webhook.objects.turn_on(found.pk)
    audit.tell(request, f"turned {'off' if off else 'on'} webhook {name_in_log(found)}")
    return redirect("webhook", slug, pk)


@login_required
@never_cache
@require_POST
def new_secret(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    """Replace the secret; the old one ends at once. Shown this once."""
    found = _found(get_project_for_manager(request, slug), pk)
    renew_secret(found, by=request.user)
    return _page(request, found, secret=secret_of(found))


@login_required
@require_POST
def remove(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    found = _found(get_project_for_manager(request, slug), pk)
    audit.tell(request, f"removed webhook {name_in_log(found)}")
    found.delete()
    messages.success(request, _("%(url)s is not told anything any more. Its log is gone.") % {"url": found.url})
    return redirect("webhooks", slug)


@login_required
@require_POST
def send_again(request: SignedInRequest, slug: str, pk: int, delivery_pk: int) -> HttpResponse:
    found = _found(get_project_for_manager(request, slug), pk)
    if not start_over(get_object_or_404(found.deliveries, pk=delivery_pk)):
        messages.info(request, _("It is on its way already."))
    return redirect("webhook", slug, pk)


def _found(project: Project, pk: int) -> Webhook:
    return get_object_or_404(project.webhooks.select_related("project", "created_by"), pk=pk)


def _page(request: SignedInRequest, webhook: Webhook, secret: str = "") -> HttpResponse:
    context = {
        "project": webhook.project,
        "webhook": webhook,
        "secret": secret,
        "deliveries": webhook.deliveries.all()[:SHOWN_DELIVERIES],
        "most_attempts": MOST_ATTEMPTS,
        "section": "projects",
    }
    return render(request, "api/webhook.html", context)
