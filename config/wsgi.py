"""What gunicorn serves: `gunicorn config.wsgi`."""

import os

from django.core.handlers.wsgi import WSGIRequest
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")


class Request(WSGIRequest):
    """A request that is read as UTF-8. `config.middleware.texts_alone` refuses another charset, where Django would read
    by it at once: by one that is no text's (hex) it fails before any middleware is asked.
    """

    encoding = None  # type: ignore[override]  # a plain attribute instead of what reads anew when it is set


application = get_wsgi_application()
application.request_class = Request
