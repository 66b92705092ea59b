"""The quality of votes over the API: for managers, as the page shows it."""

import pytest
from django.utils.timezone import now

from annotation.models import Project, QualityReport, User
from api.models import Scope
from prefloop_client.rows import Estimate, Quality, read
from tests.api.conftest import ProgramOf, error_of

HERE = "/projects/everyday-help/quality"


@pytest.fixture
def report(project: Project, ann: User) -> QualityReport:
    alpha = {"value": 0.61, "n": 40, "low": 0.4, "high": 0.8}
    person = {"person": ann.pk, "votes": 40, "flags": ["side"], "weeks": [], "left": alpha | {"value": 0.98}}
    numbers = {"votes": 80, "pairs": 40, "alpha": alpha, "gold": None, "label_smoothing": 0.12, "people": [person]}
    return QualityReport.objects.create(project=project, numbers=numbers, computed_at=now())


def test_a_manager_reads_every_number_with_its_interval(
    report: QualityReport, manager: User, program_of: ProgramOf
) -> None:
    found = program_of(manager).get(HERE).json()
    assert (found["votes"], found["pairs"], found["newer_votes"], found["label_smoothing"]) == (80, 40, 0, 0.12)
    assert found["estimates"] == {"alpha": {"value": 0.61, "n": 40, "low": 0.4, "high": 0.8}}
    (person,) = found["people"]
    assert (person["annotator"], person["flags"], person["estimates"]["left"]["value"]) == ("ann", ["side"], 0.98)


def test_the_client_reads_what_is_answered(report: QualityReport, manager: User, program_of: ProgramOf) -> None:
    found = read(Quality, program_of(manager).get(HERE).json())
    assert report.computed_at is not None
    assert found.computed_at == report.computed_at.replace(microsecond=report.computed_at.microsecond // 1000 * 1000)
    assert found.estimates == {"alpha": Estimate(0.61, 40, 0.4, 0.8)}
    assert found.people[0].estimates["left"].value == 0.98


def test_the_first_question_has_the_numbers_computed(project: Project, manager: User, program_of: ProgramOf) -> None:
    found = program_of(manager).get(HERE).json()
    assert (found["computed_at"], found["estimates"], found["people"]) == (None, {}, [])
    assert QualityReport.objects.get(project=project).asked_at is not None


def test_annotators_and_tokens_without_the_scope_are_refused(
    report: QualityReport, manager: User, ann: User, program_of: ProgramOf
) -> None:
    assert error_of(program_of(ann).get(HERE)) == (404, "not_found")
    assert error_of(program_of(manager, Scope.LABEL).get(HERE)) == (403, "scope_missing")
