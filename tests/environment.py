"""The environment of the tests, set before Django reads its settings (a pytest plugin; see pyproject.toml).

A variable that a developer has exported must not decide what the tests see, nor may the tests empty their Redis; only
where state is kept is left to them.
"""

import os
from pathlib import Path

ACCESS = ("SECRET_KEY", "DEBUG", "ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "HTTPS", "HSTS_SECONDS", "BEHIND_PROXY")
SIGN_IN = ("HSTS_SUBDOMAINS", "OIDC_SERVER_URL", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "OIDC_NAME", "OIDC_NEW_PEOPLE")
for name in (*ACCESS, *SIGN_IN, "REDIS_URL"):
    os.environ.pop(name, None)
os.environ["PREFLOOP_ENV"] = "local"
os.environ["LOG_LEVEL"] = "WARNING"
var = os.environ.setdefault("PREFLOOP_VAR", str(Path(__file__).resolve().parent.parent / "var" / "test"))
# Of several processes that share the tests out, each has its own database, broker and folders.
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    os.environ["PREFLOOP_VAR"] = str(Path(var) / worker)

# Every model of the tests is made by the tests.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# The models of the tests are so small that a second thread costs more than it brings.
os.environ.setdefault("OMP_NUM_THREADS", "1")
