"""What the quality of votes gives to training: one label a pair, and the label smoothing of DPO."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from annotation.models import Comparison, PairLabel, Preference, Project, QualityReport, User
from models_registry.models import Version
from tests.training.conftest import vote
from training.forms import LaunchForm, form_for
from training.models import Method, Snapshot
from training.snapshot_filter import PAIRS, Filter, FilterError
from training.snapshots import freeze, preview, read_rows

pytestmark = pytest.mark.django_db


def label_of(preference: Preference, first_better: float, **more: Any) -> PairLabel:
    """What a computation would have written for the comparison behind a vote."""
    return PairLabel.objects.create(
        comparison=preference.judgment.comparison,
        project=preference.project,
        first_better=first_better,
        doubt=min(first_better, 1 - first_better),
        **{"votes": 3, "preferring_votes": 3, "is_split": True, **more},
    )


def rows_of(snapshot: Snapshot) -> list[dict[str, Any]]:
    return [row for name in ("train", "eval") for row in read_rows(snapshot, name)]


@pytest.fixture
def report(project: Project) -> QualityReport:
    rate = {"value": 0.213, "low": 0.18, "high": 0.25, "n": 812}
    return QualityReport.objects.create(
        project=project,
        numbers={"flip_rate": rate, "label_smoothing": 0.21},
        votes_counted=0,
        computed_at=now(),
    )


def test_a_snapshot_of_pairs_has_the_likelier_answer_and_its_probability(
    project: Project, votes: list[Preference]
) -> None:
    sure, turned = label_of(votes[0], 0.9), label_of(votes[1], 0.3)
    label_of(votes[2], 0.5)
    snapshot = freeze(method=Method.DPO, project=project, created_by=None, chosen=Filter(labels=PAIRS))
    found = {row["comparison"]: row for row in rows_of(snapshot)}
    assert set(found) == {sure.pk, turned.pk}
    assert (found[sure.pk]["chosen"], found[sure.pk]["rejected"]) == ("Answer 0.", "The long answer 0.")
    assert found[sure.pk]["label"] == pytest.approx(0.9)
    assert (found[turned.pk]["chosen"], found[turned.pk]["rejected"]) == ("The long answer 1.", "Answer 1.")
    assert found[turned.pk]["label"] == pytest.approx(0.7)
    assert not [row for row in found.values() if "weight" in row]  # a label and a weight would count the doubt twice
    assert snapshot.filter["labels"] == PAIRS


def test_at_a_margin_of_zero_the_weight_has_the_slope_of_the_soft_label() -> None:
    """d/dm of -[p·log s(m) + (1-p)·log s(-m)] at 0 is -(2p-1)/2; of -w·log s(m) it is -w/2: so w = 2p-1."""
    from math import exp, log

    p, step = 0.83, 1e-6

    def soft(m: float) -> float:
        return p * log(1 + exp(-m)) + (1 - p) * log(1 + exp(m))

    label = PairLabel(first_better=p)
    weighted = label.weight * (log(1 + exp(-step)) - log(1 + exp(step))) / (2 * step)
    assert (soft(step) - soft(-step)) / (2 * step) == pytest.approx(weighted, abs=1e-6)


def test_the_preview_counts_pairs(project: Project, votes: list[Preference]) -> None:
    for preference in votes[:8]:
        label_of(preference, 0.8)
    found = preview(Method.DPO, project, Filter(labels=PAIRS))
    assert (found.rows, found.prompts, found.unit) == (8, 8, "labelled pairs")
    assert found.train_rows + found.eval_rows == 8
    assert preview(Method.DPO, project, Filter()).rows == 20


def test_gold_pairs_are_learned_from_only_when_asked(project: Project, annotator: User) -> None:
    gold = vote(project, annotator, "Gold?", purpose=Comparison.Purpose.GOLD)
    assert gold is not None
    label_of(gold, 0.9)
    assert preview(Method.DPO, project, Filter(labels=PAIRS)).rows == 0
    assert preview(Method.DPO, project, Filter(labels=PAIRS, purposes=("gold",))).rows == 1


def test_a_filter_says_what_its_rows_are() -> None:
    assert Filter.from_dict(Filter(labels=PAIRS).to_dict()) == Filter(labels=PAIRS)
    assert "labels" not in Filter().to_dict()
    with pytest.raises(FilterError, match="labels"):
        Filter.from_dict({"labels": "guesses"})
    for other in ({"min_strength": 2}, {"since": "2026-01-31"}, {"annotators": ["nina"]}):
        with pytest.raises(FilterError, match="holds all its votes"):
            Filter.from_dict({"labels": PAIRS, **other})


def test_pairs_and_a_filter_of_votes_do_not_go_together(
    project: Project, votes: list[Preference], base: Version
) -> None:
    data = {
        "project": project.pk,
        "base": base.pk,
        "seed": 1,
        "labels": PAIRS,
        "min_strength": 2,
        "purposes": ["collect"],
    }
    form = form_for(LaunchForm, Method.DPO)(data)
    assert not form.is_valid()
    assert "holds all its votes" in str(form.errors["labels"])
    assert "labels" not in form_for(LaunchForm, Method.SFT)().fields


def test_labels_of_pairs_and_a_smoothing_do_not_go_together(
    project: Project, votes: list[Preference], base: Version
) -> None:
    for preference in votes:
        label_of(preference, 0.8)
    data = {"project": project.pk, "base": base.pk, "seed": 1, "labels": PAIRS, "purposes": ["collect"]}
    smoothed = form_for(LaunchForm, Method.DPO)({**data, "option_label_smoothing": "0.2"})
    assert "say already" in str(smoothed.errors["option_label_smoothing"])
    form = form_for(LaunchForm, Method.DPO)({**data, "option_label_smoothing": "0"})
    assert "option_label_smoothing" not in form.errors
    assert "labels" not in form.errors


def test_the_launch_form_of_dpo_proposes_the_flip_rate(
    project: Project, votes: list[Preference], base: Version, report: QualityReport, client: Client, admin: User
) -> None:
    client.force_login(admin)
    address = reverse("admin:training_run_add")
    page = client.get(address, {"method": "dpo", "project": project.pk}).content.decode()
    assert "label smoothing 0.21 is proposed" in page
    assert 'name="option_label_smoothing" value="0.21"' in page
    counted = client.get(reverse("admin:training_run_count"), {"method": "dpo", "project": project.pk}).content.decode()
    assert "21 % of the votes are wrong (18 % to 25 %, 812 votes" in counted
    other = client.get(address, {"method": "reward", "project": project.pk}).content.decode()
    assert "is proposed" not in other


def test_nothing_is_proposed_while_nothing_is_known(
    project: Project, votes: list[Preference], base: Version, client: Client, admin: User
) -> None:
    client.force_login(admin)
    page = client.get(reverse("admin:training_run_add"), {"method": "dpo", "project": project.pk}).content.decode()
    assert "is proposed" not in page
    assert 'name="option_label_smoothing" value="0.0"' in page
