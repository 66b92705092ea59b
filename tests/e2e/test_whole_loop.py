"""The whole loop on a tiny model, through real processes: import, label, launch, finish, download, load.

What must come out of it is what the people asked for: on the pairs it learned from, the policy's margin has risen.
"""

import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from annotation.models import Preference, User
from annotation.services import create_project
from tests.e2e.conftest import Stack
from tests.e2e.training import PAIRS, build_tiny, launch, register_tiny

pytestmark = pytest.mark.slow

# In a Python of its own, without this project: how much likelier the chosen answers are than the rejected ones.
MARGINS = """
import importlib.util, json, sys
assert not any(importlib.util.find_spec(name) for name in ("training", "annotation", "models_registry"))
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
rows = [json.loads(line) for line in open(sys.argv[1])]
found = []
for folder in sys.argv[2:]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    def logprob(prompt, answer):
        start = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
        start_ids = tokenizer(start, add_special_tokens=False)["input_ids"]
        answer_ids = tokenizer(answer + tokenizer.eos_token, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([start_ids + answer_ids])).logits[0, len(start_ids) - 1 : -1]
        return logits.log_softmax(-1).gather(1, torch.tensor(answer_ids)[:, None]).sum().item()
    margins = [logprob(row["prompt"], row["chosen"]) - logprob(row["prompt"], row["rejected"]) for row in rows]
    found.append(sum(margins) / len(margins))
print(json.dumps({"rows": len(rows), "before": found[0], "after": found[1]}))
"""


def test_votes_given_in_the_browser_change_the_model_that_is_downloaded(
    page: Page, live_stack: Stack, sign_in: Callable[[User], None], tmp_path: Path
) -> None:
    register_tiny(build_tiny(tmp_path / "tiny"))
    ada = User.objects.create_superuser("ada", display_name="Ada")
    create_project(name="Everyday help", manager=ada)
    sign_in(ada)

    import_pairs(page, tmp_path / "pairs.jsonl")
    label_everything(page)
    assert {preference.chosen.text for preference in Preference.objects.all()} == {pair.better for pair in PAIRS}

    number = launch(page, "DPO", "Tiny model v1", {"epochs": "8", "batch_size": "4", "learning_rate": "0.001"})
    expect(page.locator("#run-live")).to_have_attribute("data-state", "succeeded", timeout=180_000)
    page.locator("#result").click()
    policy = download(page, "Merged", tmp_path)
    page.get_by_role("link", name="Tiny model v1").first.click()
    base = download(page, "Full", tmp_path)

    train = live_stack.var / "runs" / str(number) / "data" / "train.jsonl"
    command = [sys.executable, "-I", "-c", MARGINS, str(train), base.name, policy.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    margins = json.loads(done.stdout.splitlines()[-1])
    assert margins["rows"] >= len(PAIRS) // 2
    assert margins["after"] > margins["before"] + 1


def import_pairs(page: Page, file: Path) -> None:
    """Upload the pairs, none of them judged, and one row that is broken."""
    rows = [json.dumps({"prompt": pair.prompt, "responses": [pair.worse, pair.better]}) for pair in PAIRS]
    file.write_text("\n".join([*rows, '{"prompt": "broken"}', ""]))
    page.goto("/projects/everyday-help/import/")
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("button", name="Look at it").click()
    page.get_by_role("button", name="Import").click()
    expect(page.locator(".notice", has_text=f"1 of {len(PAIRS) + 1} rows could not be taken")).to_be_visible()


def label_everything(page: Page) -> None:
    """Every pair by one key, for the shorter answer. One in ten comes out of its turn."""
    page.goto("/projects/everyday-help/label/")
    page.keyboard.press("Escape")
    left = {pair.prompt: pair.better for pair in PAIRS}
    while left:
        prompt = page.locator(".conversation").get_by_text(re.compile("|".join(map(re.escape, left))))
        better = left.pop(prompt.inner_text())  # waits for a pair that was not there before
        page.wait_for_timeout(300)  # a key this soon after a new pair is taken to be meant for the last one
        side = page.locator(".answer", has_text=better).locator(".side").inner_text().split()[-1]
        page.keyboard.press("1" if side == "A" else "7")
    expect(page.locator(".answer")).to_have_count(0)


def download(page: Page, words: str, place: Path) -> Path:
    """Download an archive by its button, and unpack it."""
    with page.expect_download() as downloading:
        page.get_by_role("link", name=f"{words}, ").click()
    archive = place / downloading.value.suggested_filename
    downloading.value.save_as(archive)
    with tarfile.open(archive) as tar:
        tar.extractall(place, filter="data")
    return place / archive.stem
