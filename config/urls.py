"""Where each room's pages begin."""

from inspect import unwrap

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path
from django.views import defaults

# The admin's own form would let in without counting attempts or asking for the second factor.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

# Django's pages of errors, without what is wrapped around them: it reads the form that was sent, and fails again where
# that is what cannot be read.
handler400, handler403, handler404, handler500 = (
    unwrap(page)
    for page in (defaults.bad_request, defaults.permission_denied, defaults.page_not_found, defaults.server_error)
)

urlpatterns = [
    path("", include("annotation.urls")),  # first: every pair and every vote is looked up here
    path("admin/", admin.site.urls),
    path("models/", include("models_registry.urls")),
    path("", include("api.urls")),
    path("", include("training.urls")),
]
