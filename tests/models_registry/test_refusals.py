"""Why a model folder is not registered is kept in English, and told in the reader's language."""

import ast
import re
from pathlib import Path

from django.utils.translation import override

from models_registry import services
from models_registry.sayings import recognised
from tests.spoken import spoken

REGISTRY = Path(services.__file__).parent
ERRORS = {"RegistrationError", "UnsafeNameError"}
ENGLISH = re.compile(r"\b(?:the|is|no|of|model|file|already|unknown)\b", re.IGNORECASE)


def refusals() -> list[str]:
    calls = [node for file in REGISTRY.glob("*.py") for node in ast.walk(ast.parse(file.read_text()))]
    calls = [node for node in calls if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ERRORS]
    return [said for call in calls if (said := spoken(call.args[0], ()))]


def test_every_refusal_in_the_code_is_told_in_german() -> None:
    found = refusals()
    assert len(found) > 10
    with override("de"):
        told = {refusal: recognised(refusal) for refusal in found}
    assert [refusal for refusal, german in told.items() if german == refusal or ENGLISH.search(german)] == []
