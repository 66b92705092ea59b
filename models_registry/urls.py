"""The pages of the models, and their downloads. Everything is below /models/."""

from django.urls import path

from models_registry import views

urlpatterns = [
    path("", views.models, name="models"),
    path("<slug:slug>/<int:number>/", views.version, name="version"),
    path("<slug:slug>/<int:number>/download/<slug:format>/", views.download, name="download"),
]
