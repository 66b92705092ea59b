"""Where each room's pages begin."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path

# The admin's own form would let in without counting attempts or asking for the second factor.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

urlpatterns = [
    path("", include("annotation.urls")),  # first: every pair and every vote is looked up here
    path("admin/", admin.site.urls),
    path("models/", include("models_registry.urls")),
    path("", include("api.urls")),
    path("", include("training.urls")),
]
