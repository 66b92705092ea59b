"""Every sentence that the engine's code says is told in German on the pages that show it."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from django.utils.translation import override

from models_registry.sayings import recognised, said
from tests.spoken import spoken
from training.engine import run_dir
from training.engine.config import ConfigError, load_config
from training.engine.run_dir import RunDir, RunDirError

ENGINE = Path(run_dir.__file__).parent
LEARNED_BY_THE_TINY_MODEL = "tiny.py"
# An option's words are asked for by test_german.
OF_AN_OPTION = {"help", "unit", "source", "group"}
COUNTS = (
    *("number", "step", "cut", "rows}", "dropped", "total()", "len(", "processes", "gpus", "length", "num_labels"),
    *("tokens", "limit", "context", "rank", "{failure.exitcode}", "iteration", "epoch", "place + 1", "prompts}"),
)
WORDS = re.compile(r"[A-Za-z]{2,}[^A-Za-z]* [^A-Za-z]*[A-Za-z]{2,}")
# What stays in German: names of options, of their values, of files and columns; "in" is both.
ALIKE = """
    in field true false shard shared sigmoid ipo robust label response weight score system user assistant train prompts
    config json gguf safetensors owner name pip install no deps
"""
# Titles of methods and groups of answers, which test_german asks for.
SHOWN_ALONE = {"Supervised fine-tuning", "Reward model", "Sample answers", "about equal"}
NOT_SHOWN = {
    "usage: python -m training.engine RUN_DIR",
    "field is not a directory",  # nor to a run, which has one
    "out of memory",  # of others, who are understood
    "No space left on device",
    "attention sinks",  # caught where it is raised
    "max_new_tokens must be at least 1, temperature at least 0 and top_p in (0, 1]",  # the code that calls is at fault
    "a prompt without tokens cannot be sampled from",
    "another process of this run has ended or does not answer: field",  # that process says why
    "score head",  # seeds
    "answers of the policy",  # of a manifest
    "training answers",
}


class Sentences(ast.NodeVisitor):
    """The strings of two words and more that stand in a module's code."""

    def __init__(self, file: Path) -> None:
        self.found: list[str] = []
        self.visit(ast.parse(file.read_text()))

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # else a docstring
            self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg not in OF_AN_OPTION:
            self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self.hear(node)
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                self.visit(part.value)

    def visit_Constant(self, node: ast.Constant) -> None:
        self.hear(node)

    def hear(self, node: ast.expr) -> None:
        sentence = spoken(node, COUNTS)
        if WORDS.search(sentence.replace("field", "")):  # words of its own
            self.found.append(sentence)


@cache
def sentences() -> set[str]:
    files = [file for file in ENGINE.rglob("*.py") if file.name != LEARNED_BY_THE_TINY_MODEL]
    return {sentence for file in files for sentence in Sentences(file).found}


def words(text: str) -> set[str]:
    return set(re.findall(r"\b[a-z]{2,}\b", text))


def test_every_sentence_of_the_engine_is_told_in_german() -> None:
    assert len(sentences()) > 110
    with override("de"):
        told = {sentence: recognised(sentence) for sentence in sentences() - NOT_SHOWN - SHOWN_ALONE}
    left = {sentence: words(sentence) & words(german) - words(ALIKE) for sentence, german in told.items()}
    assert {sentence: english for sentence, english in left.items() if english} == {}


def test_what_is_listed_is_still_said() -> None:
    assert (NOT_SHOWN | SHOWN_ALONE) - sentences() == set()


TOLD = {
    "train row 3: chosen must be text": "Zeile 3 von train: chosen muss Text sein",
    "the gradient of step 7 is not finite; lower the learning rate or use fp32": (
        "der Gradient von Schritt 7 ist nicht endlich; verringere die Lernrate oder nimm fp32"
    ),
    "the loss of step 7 (rows a, b and 5 more) is not finite; lower the learning rate or use fp32": (
        "der Loss von Schritt 7 (Zeilen a, b und 5 weitere) ist nicht endlich; verringere die Lernrate oder nimm fp32"
    ),
    "iteration 2, epoch 1, minibatch 4 (rows a, b): value loss is not finite; lower the learning rate": (
        "Iteration 2, Epoche 1, Minibatch 4 (Zeilen a, b): Value-Loss ist nicht endlich; verringere die Lernrate"
    ),
    "there is no pair to train on: all 3 were left out, 2 with equal answers, 1 with an empty answer": (
        "es gibt kein Paar zum Lernen: Alle 3 sind ausgelassen, 2 mit gleichen Antworten, 1 mit einer leeren Antwort"
    ),
    "kl_target (9.5) must be below max_kl (8.5)": "kl_target (9,5) muss unter max_kl (8,5) liegen",
    "a model of type bert looks at tokens to come, which change its logits by 12.3%; only causal ones can be trained": (
        "ein Modell vom Typ bert sieht Token, die erst kommen: Sie ändern seine Logits um 12,3 %; "
        "trainieren lassen sich nur kausale"
    ),
    "the source is not a folder": "die Quelle ist kein Ordner",
    "RuntimeError: shapes do not match": "RuntimeError: shapes do not match",
}


@pytest.mark.parametrize(("kept", "german"), TOLD.items())
def test_a_reason_of_the_engine_is_told_with_what_stands_in_it(kept: str, german: str) -> None:
    with override("de"):
        assert said(kept) == german


def test_what_the_engine_raises_is_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(RunDirError) as missing:
        RunDir(tmp_path).spec()
    with pytest.raises(ConfigError) as unfit:
        load_config("dpo", {"loss": "robust"})
    with override("de"):
        assert said(str(missing.value)) == f"{tmp_path}/spec.json fehlt"
        assert said(str(unfit.value)).startswith("label_smoothing: robust braucht den Anteil")
