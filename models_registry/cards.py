"""The model card: what a version is, where it comes from, what was measured, and how to load it. Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.safestring import SafeString
from markdown_it import MarkdownIt

from models_registry.measures import Measure, measures
from models_registry.models import Format, Kind, Version
from models_registry.sanitising import sanitise

CARD_FILE = "README.md"

WHAT = {
    Kind.BASE: "A base language model, as it was brought in; every other version grows from one like it.",
    Kind.SFT: "A language model fine-tuned on example answers.",
    Kind.REWARD: "A reward model: it gives a conversation's last answer a number, higher where people would prefer it.",
    Kind.POLICY: "A language model aligned with people's preferences between pairs of answers.",
}
# The measure that says most about a version of each kind, the first that it has.
KEY_METRICS = {
    Kind.BASE: (),
    Kind.SFT: ("loss",),
    Kind.REWARD: ("accuracy",),
    Kind.POLICY: ("score", "margin", "accuracy"),
}


def key_measure(version: Version) -> Measure | None:
    """The measure to show where there is room for one."""
    found = {measure.name: measure for measure in measures(version.metrics)}
    return next((found[name] for name in KEY_METRICS[Kind(version.kind)] if name in found), None)


def write_card(version: Version, *, formats: Sequence[str], method: str, facts: Mapping[str, object]) -> str:
    """The card of a version that is about to be stored in these formats. `facts`: further lines, name to value."""
    sections = [f"# {_plain(str(version))}", WHAT[Kind(version.kind)]]
    if version.notice:
        sections.append(f"> **Note.** {_plain(version.notice)}")
    sections += [
        "## Where it comes from",
        _list(_origin(version, method) | dict(facts)),
        "## What was measured",
        _metrics(version.metrics),
        "## How to load it",
        *loading(version, formats),
        "## Limits",
        _limits(version),
    ]
    if settings := [(name, value) for name, value in sorted(version.config.items()) if value != ""]:
        sections += ["## Configuration", _table(("Setting", "Value"), settings)]
    return "\n\n".join(sections) + "\n"


def _origin(version: Version, method: str) -> dict[str, object]:
    found: dict[str, object] = {
        "Kind": Kind(version.kind).label,
        "Made by": method,
        "Training run": version.run_id,
        "Trained from": version.parent,
        "Source": version.source,
        "Dataset (SHA-256)": version.dataset_sha256,
        "Tokenizer (SHA-256)": version.tokenizer_sha256,
        "Parameters": f"{version.parameters:,}" if version.parameters else "",
        "Registered": f"{version.created_at:%Y-%m-%d %H:%M} UTC",
    }
    return {name: value for name, value in found.items() if value}


def _metrics(metrics: Mapping[str, Any]) -> str:
    rows = [
        (item.name, "" if item.before is None else f"{item.before:.4g}", f"{item.after:.4g}")
        for item in measures(metrics)
    ]
    return _table(("Metric", "Before", "After"), rows) if rows else "Nothing: this version was not evaluated."


def _limits(version: Version) -> str:
    if version.kind == Kind.REWARD:
        return (
            "It has learned what the people behind its dataset prefer, in the kind of conversation they saw. Its "
            "numbers order answers to one prompt; they do not compare across prompts, and a policy that is pushed "
            "hard against them finds their mistakes."
        )
    return (
        "It can be wrong, and say so confidently. Its preferences are those of the people behind its dataset; nothing "
        "beyond the measures above was tested."
    )


def loading(version: Version, formats: Sequence[str]) -> list[str]:
    """Markdown, alternating text and code: how to load each of these formats in a plain Python."""
    name = f"{version.model.slug}-v{version.number}"
    reward = version.kind == Kind.REWARD
    sections: list[str] = []
    for found in formats:
        folder = f"{name}-{found}"
        if found == "adapter":
            sections.append("The adapter needs `transformers` and `peft`, and the model that it was trained from:")
            sections.append(_code(_load_adapter(folder, _base_folder(version), reward) + (SCORE if reward else ANSWER)))
        else:
            sections.append(f"The {found} model needs only `transformers`:")
            sections.append(_code(_load_whole(folder, reward) + (SCORE if reward else ANSWER)))
    return sections


def _base_folder(version: Version) -> str:
    """The folder that the parent's download unpacks into."""
    if version.parent is None:
        return "folder-of-the-base-model"
    whole = version.parent.artifacts.exclude(format=Format.ADAPTER).first()
    return f"{version.parent.model.slug}-v{version.parent.number}-{whole.format if whole else Format.FULL}"


def _load_whole(folder: str, reward: bool) -> str:
    auto = "AutoModelForSequenceClassification" if reward else "AutoModelForCausalLM"
    return f"""from transformers import {auto}, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{folder}")
model = {auto}.from_pretrained("{folder}")
"""


def _load_adapter(folder: str, base: str, reward: bool) -> str:
    auto = "AutoModelForSequenceClassification" if reward else "AutoModelForCausalLM"
    labels = ", num_labels=1, pad_token_id=tokenizer.pad_token_id" if reward else ""
    # In 32 bits, as the merged model is stored: the adapter's change can be smaller than bf16's rounding.
    return f"""from peft import PeftModel
from transformers import {auto}, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{folder}")
base = {auto}.from_pretrained("{base}", dtype="float32"{labels})
model = PeftModel.from_pretrained(base, "{folder}")
"""


ANSWER = """
messages = [{"role": "user", "content": "How do I keep basil fresh?"}]
prompt = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
)
answer = model.generate(**prompt, max_new_tokens=200)
print(tokenizer.decode(answer[0, prompt["input_ids"].shape[1]:], skip_special_tokens=True))
"""
SCORE = """
messages = [
    {"role": "user", "content": "How do I keep basil fresh?"},
    {"role": "assistant", "content": "Stand the stems in water."},
]
# The score is read at the end of the turn: nothing may follow it.
text = tokenizer.apply_chat_template(messages, tokenize=False).rstrip()
tokens = tokenizer(text, add_special_tokens=False, return_tensors="pt")
print(model(**tokens).logits.item())
"""


def render_card(card: str) -> SafeString:
    """The card as HTML for a page's third level; raw HTML in it is shown as text, and what is left is sanitised."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(card)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1:]) + 2)}"
    html = markdown.renderer.render(tokens, markdown.options, {})
    return sanitise(html.replace("<pre>", '<pre tabindex="0">'))  # a key must reach what is scrolled


def _list(facts: Mapping[str, object]) -> str:
    return "\n".join(f"- {_plain(name)}: {_plain(str(value))}" for name, value in facts.items())


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_plain(str(cell)) for cell in line) + " |" for line in lines)


def _code(text: str) -> str:
    return f"```python\n{text.strip()}\n```"


def _plain(text: str) -> str:
    """Text that Markdown leaves as it is, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>#|!])", r"\\\1", " ".join(text.split()))
