"""Every setting, in one file, read from the environment through the small typed readers of config/environment.py.

A wrong value stops the start with one line that names the variable. `.env.example` lists the variables.
"""

import sys
from pathlib import Path
from typing import Any

import django_stubs_ext
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static

from config.embedded.services import Services
from config.environment import (
    celery_url,
    choice,
    database,
    flag,
    networks,
    number,
    origin,
    redis,
    secret,
    text,
    web_address,
    words,
)

# Lets `ModelForm[User]` and the like stand in code; Django itself does not take the brackets everywhere.
django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent
VAR = Path(text("PREFLOOP_VAR", str(BASE_DIR / "var"))).absolute()
PRODUCTION = choice("PREFLOOP_ENV", "local", ("local", "production")) == "production"

# Who may ask

SECRET_KEY = secret("SECRET_KEY", VAR / "secret_key", required=PRODUCTION)
DEBUG = flag("DEBUG", False)
ALLOWED_HOSTS = words("ALLOWED_HOSTS", [] if PRODUCTION else ["localhost", "127.0.0.1", "[::1]"])
if PRODUCTION and not ALLOWED_HOSTS:
    raise ImproperlyConfigured("ALLOWED_HOSTS must be set in production: the names people type, separated by commas.")
CSRF_TRUSTED_ORIGINS = words("CSRF_TRUSTED_ORIGINS", [])

# In production everything goes over HTTPS unless a test installation says otherwise.
HTTPS = flag("HTTPS", PRODUCTION)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = number("HSTS_SECONDS", 86_400, low=0, high=63_072_000) if HTTPS else 0
if flag("BEHIND_PROXY", False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# Whether the other names below this one are HTTPS only too is not ours to say, unless the variable says so.
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = flag("HSTS_SUBDOMAINS", False)
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]  # the two that ask for just that
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"  # a sign-in elsewhere comes back by a link
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],  # the picture of a two-factor secret
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "object-src": [NONE],
    }
}

INSTALLED_APPS = [
    "config",
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django.forms",
    "django_htmx",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "models_registry",
    "annotation",
    "training",
    "api",
]
MIDDLEWARE = [
    "config.middleware.health",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "config.middleware.admin_content_security_policy",
    "config.middleware.permissions_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "api.middleware.answer_in_json",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "annotation.audit.middleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "config.middleware.readable_refusals",
    "config.middleware.texts_alone",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "loaders": [
                (
                    "django.template.loaders.cached.Loader",
                    ["django.template.loaders.filesystem.Loader", "config.admin_templates.Loader"],
                )
            ],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]
# Fields, too, from the loaders above: the admin's are repaired by them.
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"

AUTH_USER_MODEL = "annotation.User"
SESSION_ENGINE = "annotation.sessions"
AUTHENTICATION_BACKENDS = ["training.permissions.PeopleAndTheirModels"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "sign-in"

# Signing in (annotation/signing_in.py). Attempts are counted in Redis, for an address of the network and an account.
ACCOUNT_ADAPTER = "annotation.signing_in.SiteAccounts"
SOCIALACCOUNT_ADAPTER = "annotation.signing_in.SiteIdentities"
ACCOUNT_RATE_LIMITS = {"login": "30/m/ip", "login_failed": "20/m/ip,5/5m/key", "reauthenticate": "10/m/user"}
SOCIALACCOUNT_REAUTHENTICATION_REQUIRED = True  # to connect an identity: a session left open must not be enough
ACCOUNT_EMAIL_VERIFICATION = "none"  # the site sends no mail
ACCOUNT_UNIQUE_EMAIL = False
# Behind one proxy the visitor's address is the last that the header names; without, nobody may name one.
ALLAUTH_TRUSTED_PROXY_COUNT = 1 if flag("BEHIND_PROXY", False) else 0
MFA_TOTP_ISSUER = "Prefloop"
MFA_TOTP_TOLERANCE = 1  # a phone's clock may be half a minute off
MFA_ALLOW_UNVERIFIED_EMAIL = True

# The company's identity provider. People go to it by a form, which the policy above lets go nowhere else.
OIDC_ID = "oidc"
OIDC_SERVER_URL = web_address("OIDC_SERVER_URL", https=PRODUCTION)
OIDC_CLIENT_ID, OIDC_CLIENT_SECRET = text("OIDC_CLIENT_ID"), text("OIDC_CLIENT_SECRET")
OIDC_NAME = text("OIDC_NAME", "single sign-on")
OIDC_NEW_PEOPLE = flag("OIDC_NEW_PEOPLE", False)
SOCIALACCOUNT_PROVIDERS: dict[str, dict[str, Any]] = {}
if OIDC_SERVER_URL:
    if not OIDC_CLIENT_ID or not OIDC_CLIENT_SECRET:
        raise ImproperlyConfigured("OIDC_SERVER_URL needs OIDC_CLIENT_ID and OIDC_CLIENT_SECRET.")
    app = {
        "provider_id": OIDC_ID,
        "name": OIDC_NAME,
        "client_id": OIDC_CLIENT_ID,
        "secret": OIDC_CLIENT_SECRET,
        "settings": {"server_url": OIDC_SERVER_URL},
    }
    SOCIALACCOUNT_PROVIDERS["openid_connect"] = {"APPS": [app], "OAUTH_PKCE_ENABLED": True}
    CONTENT_SECURITY_POLICY["DIRECTIVES"]["form-action"] += [origin(OIDC_SERVER_URL)]

# Where things are kept

# A server that no URL names is started here when something first needs it (config/embedded).
SERVICES = Services(VAR, postgres=not text("DATABASE_URL"), redis=not text("REDIS_URL"))
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        **(database("DATABASE_URL") if text("DATABASE_URL") else {"ENGINE": "config.embedded", **SERVICES.database()}),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REDIS_URL = redis("REDIS_URL") if text("REDIS_URL") else SERVICES.redis_url()
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {"serializer": "config.cache.JSONSerializer"},
    },
    # Parts of pages that are the same for many, in the memory of each process; named by all that they say.
    "template_fragments": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
}

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": VAR / "media"}},
    "staticfiles": {
        # Names with a hash need `collectstatic`, which the image runs; a clone serves its files as they are.
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
    # Model folders and their archives; keys are relative paths.
    "artifacts": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": VAR / "artifacts"}},
}
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles" if PRODUCTION else None
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = not PRODUCTION

# How long a comparison is a person's without a sign of life from their page, which gives one every minute.
LEASE_SECONDS = number("LEASE_SECONDS", 300, low=1, high=300)

# Where run directories live; web and trainers share it.
RUNS_DIR = VAR / "runs"
# What a trainer starts with a run directory, and how long it may take to write a checkpoint when it is told to stop.
ENGINE_COMMAND = [sys.executable, "-m", "training.engine"]
ENGINE_GRACE_SECONDS = number("ENGINE_GRACE_SECONDS", 30, low=1, high=3600)
# How many processes it works on a run with: as many as the trainer has GPUs.
ENGINE_PROCESSES = number("ENGINE_PROCESSES", 1, low=1, high=1024)

# Work in the background

CELERY_BROKER_URL = CELERY_RESULT_BACKEND = celery_url(REDIS_URL)
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ROUTES = {"training.tasks.execute_run": {"queue": "train"}}
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_EXPIRES = 86_400
# A message is done when its task is done, and a worker takes one at a time: a training run must not wait behind another
# in the hands of a busy worker. There is no time limit: a run may take days, and its row says how it is.
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# Redis hands a message out again when it was not done within this many seconds, so a run longer than that is delivered
# twice. That is harmless (the row is claimed once) and only the second best way back for work of a dead worker.
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 43_200}
CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS = {"visibility_timeout": 43_200}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"  # the file of the default one is a pickle, and nothing here needs it
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    "reap stale runs": {"task": "training.tasks.reap_stale_runs", "schedule": 30.0},
    "announce unheard runs": {"task": "training.tasks.announce_unheard_runs", "schedule": 60.0},
    "tend imports": {"task": "annotation.tasks.tend_imports", "schedule": 20.0},
    "seat late votes": {"task": "annotation.tasks.seat_late_votes", "schedule": 60.0},
    "launch due schedules": {"task": "training.tasks.launch_due_schedules", "schedule": 30.0},
    "ask for quality": {"task": "annotation.tasks.ask_for_quality", "schedule": 600.0},
    "send due webhooks": {"task": "api.tasks.send_due", "schedule": 10.0},
    "forget old answers and deliveries": {"task": "api.tasks.forget_old", "schedule": 3600.0},
}

# Programs that ask

# How many requests to the API the programs of one person may send in a minute.
API_REQUESTS_PER_MINUTE = number("API_REQUESTS_PER_MINUTE", 600, low=1, high=1_000_000)
# Webhooks go to public addresses only, and to these networks of one's own.
WEBHOOK_NETWORKS = networks("WEBHOOK_NETWORKS")

# Words, times, messages

LANGUAGE_CODE = "en"
# A browser that asks for one of these gets it. The words are in locale/; `manage.py makemessages -l de` finds new ones.
# It takes those of the engine's options and of the admin's columns for unused, as no call marks them: leave them in.
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = "UTC"
USE_TZ = True
EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
# The admin in the colours of the other pages: the accent of static/css/tokens.css and its neighbours.
BLUES = {
    "50": "#f0f6fc",
    "100": "#dcebf8",
    "200": "#bcd9f2",
    "300": "#8fbfe8",
    "400": "#7db8f0",
    "500": "#2f86d6",
    "600": "#0b5fae",
    "700": "#0a5193",
    "800": "#0d4377",
    "900": "#123a62",
    "950": "#0d2540",
}
UNFOLD = {
    "SITE_TITLE": "Prefloop",
    "SITE_HEADER": "Prefloop",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("img/icon.svg")}],
    "STYLES": [lambda request: static("css/admin.css")],
    "SCRIPTS": [lambda request: static("js/admin.js")],
    "COLORS": {"primary": BLUES},
}

LOG_LEVEL = choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR"))
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        "django": {"handlers": [], "propagate": True},
        "django.server": {"handlers": [], "propagate": True},
    },
}
