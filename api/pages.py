"""The pages about the API: one's own tokens."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from annotation import audit
from annotation.access import SignedInRequest
from api.forms import TokenForm
from api.models import Token
from api.tokens import MOST_IN_FORCE, NameInUseError, TooManyTokensError, make_token


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def tokens(request: SignedInRequest) -> HttpResponse:
    """The list and the form. The answer to POST is the only page that ever shows the new token."""
    form = TokenForm(request.POST or None)
    made = None
    if request.method == "POST" and form.is_valid():
        try:
            made = make_token(
                user=request.user,
                name=form.cleaned_data["name"],
                scopes=form.cleaned_data["scopes"],
                days=form.cleaned_data["expires"],
            )
            form = TokenForm()
        except NameInUseError:
            form.add_error("name", _("You have a token of this name already. Take another name, or revoke that one."))
        except TooManyTokensError:
            said = _("You have %(n)s tokens in force, which is all anybody may have. Revoke some.")
            form.add_error(None, said % {"n": MOST_IN_FORCE})
    context = {
        "form": form,
        "made": made,
        "tokens": Token.objects.filter(user=request.user),
        "base_url": request.build_absolute_uri("/").rstrip("/"),
        "section": "account",
    }
    return render(request, "api/tokens.html", context)


@login_required
@require_POST
def revoke_token(request: SignedInRequest, pk: int) -> HttpResponse:
    """End one of one's own tokens. Programs that use it are refused from the next request on."""
    mine = Token.objects.filter(user=request.user)
    token = get_object_or_404(mine, pk=pk)
    mine.revoke(pk)
    audit.tell(request, f"revoked token {token.name}")
    messages.success(request, _("The token is revoked. Programs that use it are refused from now on."))
    return redirect("api-tokens")
