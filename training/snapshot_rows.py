"""What stands in a snapshot's files: the rows as each method reads them, each with the id of its prompt."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from django.db.models import QuerySet

from annotation.models import Project, Prompt, Response
from annotation.quality.labels import Label, soft_labels
from training.models import Method
from training.snapshot_filter import PAIRS, Filter, demonstrations, selected_preferences

LABELS_AT_A_TIME = 1_000


def _ended(found: object) -> bool:
    """Whether the author ended an answer, or the token limit cut it off. What nobody noted down counts as ended."""
    return found is not False


def _pair_rows(project: Project, chosen: Filter) -> Iterator[tuple[int, dict[str, Any]]]:
    return _label_rows(project, chosen) if chosen.labels == PAIRS else _vote_rows(project, chosen)


def _label_rows(project: Project, chosen: Filter) -> Iterator[tuple[int, dict[str, Any]]]:
    """One row a pair: the likelier answer over the other, and in `label` the probability that it is the better one."""
    labels = soft_labels(project, purposes=chosen.purposes)
    while some := list(islice(labels, LABELS_AT_A_TIME)):
        ids = {pk for label in some for pk in (label.chosen_id, label.rejected_id)}
        answers = Response.objects.in_bulk(ids)
        prompts = Prompt.objects.in_bulk({label.prompt_id for label in some})
        for label in some:
            yield label.prompt_id, _label_row(label, prompts[label.prompt_id], answers)


def _label_row(label: Label, prompt: Prompt, answers: dict[int, Response]) -> dict[str, Any]:
    chosen, rejected = answers[label.chosen_id], answers[label.rejected_id]
    return {
        "id": f"pair-{label.comparison_id}",
        "prompt": prompt.messages,
        "chosen": chosen.text,
        "chosen_ended": _ended(chosen.sampling.get("ended")),
        "rejected": rejected.text,
        "rejected_ended": _ended(rejected.sampling.get("ended")),
        "label": round(label.probability, 6),
        "votes": label.votes,
        "decided": label.decided,
        "comparison": label.comparison_id,
    }


def _vote_rows(project: Project, chosen: Filter) -> Iterator[tuple[int, dict[str, Any]]]:
    """`chosen_ended` and `rejected_ended` are False for answers that the token limit cut off: their text has no end,
    and a model that is trained to end there learns to stop in mid-sentence."""
    found = selected_preferences(project, chosen).values(
        "id",
        "prompt_id",
        "prompt__messages",
        "chosen__text",
        "chosen__sampling__ended",
        "rejected__text",
        "rejected__sampling__ended",
        "strength",
        "weight",
        "judgment_id",
    )
    for preference in found.iterator(chunk_size=2000):
        row = {
            "id": str(preference["id"]),
            "prompt": preference["prompt__messages"],
            "chosen": preference["chosen__text"],
            "chosen_ended": _ended(preference["chosen__sampling__ended"]),
            "rejected": preference["rejected__text"],
            "rejected_ended": _ended(preference["rejected__sampling__ended"]),
            "weight": preference["weight"],
            "judgment": preference["judgment_id"],
        }
        if preference["strength"] is not None:
            row["margin"] = float(preference["strength"])
        yield preference["prompt_id"], row


def _answer_rows(project: Project, chosen: Filter) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each answer that a judgment put first, once, in the order of its first win; `response_ended` as for pairs."""
    found = demonstrations(project, chosen).values_list(
        "chosen_id", "prompt_id", "prompt__messages", "chosen__text", "chosen__sampling__ended"
    )
    seen: set[int] = set()
    for pk, prompt_id, messages, text, ended in found.iterator(chunk_size=2000):
        if pk not in seen:
            seen.add(pk)
            yield prompt_id, {"id": str(pk), "prompt": messages, "response": text, "response_ended": _ended(ended)}


def _prompt_rows(project: Project, chosen: Filter) -> Iterator[tuple[int, dict[str, Any]]]:
    return rows_of(Prompt.objects.filter(project=project))


def rows_of(prompts: QuerySet[Prompt]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Prompts alone, for a model to answer."""
    for pk, messages in prompts.order_by("id").values_list("id", "messages").iterator(chunk_size=2000):
        yield pk, {"id": str(pk), "prompt": messages}


ROWS = {
    Method.SFT.value: _answer_rows,
    Method.REWARD.value: _pair_rows,
    Method.DPO.value: _pair_rows,
    Method.PPO.value: _prompt_rows,
}
