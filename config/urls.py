"""Where each room's pages begin."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("models/", include("models_registry.urls")),
    path("", include("api.urls")),
    path("", include("training.urls")),
    path("", include("annotation.urls")),
]
