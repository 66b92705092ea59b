"""Pages of the labelling side, and the front page."""

from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("", lambda request: HttpResponse("Prefloop"), name="home")]
