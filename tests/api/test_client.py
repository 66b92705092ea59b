"""The Python client and its example, against a live server."""

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from pytest_django.live_server_helper import LiveServer

from annotation.models import Judgment, Lease, Project, Response, User
from api.models import Scope
from api.tokens import make_token
from prefloop_client import AlreadyJudgedError, ApiError, Client, NoAnswerError
from tests.annotation.conftest import MakeComparison

CLIENT = Path(__file__).resolve().parents[2] / "client"
SLUG = "everyday-help"
VOTED = [{"prompt": "Why?", "chosen": "So.", "rejected": "Hm."}]
ROWS = [{"prompt": f"Question {n}?", "responses": ["Short.", "Much longer than the other one."]} for n in range(3)]

ClientOf = Any


@pytest.fixture
def client_of(live_server: LiveServer) -> Iterator[ClientOf]:
    """A client of this person. All are closed at the end: their connections keep sessions of the database open."""
    made: list[Client] = []

    def make(user: User, *scopes: Scope) -> Client:
        _, text = make_token(user=user, name=f"client {len(made)}", scopes=scopes or list(Scope), days=None)
        made.append(Client(live_server.url, text, tries=2))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def example() -> Iterator[Any]:
    """`client/examples/label_shorter.py` as a module."""
    spec = importlib.util.spec_from_file_location("label_shorter", CLIENT / "examples" / "label_shorter.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_client_stands_on_requests_alone() -> None:
    files = sorted(CLIENT.rglob("*.py"))
    assert len(files) > 4
    imported = {
        name.split(".")[0]
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported - sys.stdlib_module_names == {"requests", "prefloop_client"}


def test_the_example_labels_a_project(
    project: Project,
    manager: User,
    ann: User,
    client_of: ClientOf,
    example: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    live_server: LiveServer,
) -> None:
    client_of(manager).import_rows(SLUG, ROWS)
    _, text = make_token(user=ann, name="the rule", scopes=[Scope.LABEL, Scope.PROJECTS_READ], days=None)
    monkeypatch.setenv("PREFLOOP_URL", live_server.url)
    monkeypatch.setenv("PREFLOOP_TOKEN", text)

    example.main([SLUG])

    assert capsys.readouterr().out == "3 votes given; the project has 3 of 3. No more pairs: done.\n"
    judgments = list(Judgment.objects.all())
    short = set(Response.objects.filter(text="Short.").values_list("pk", flat=True))
    assert {judgment.tiers[0][0] for judgment in judgments} == short
    assert {judgment.annotator for judgment in judgments} == {ann}


def test_the_example_ends_in_one_line_where_there_are_no_pairs_and_lets_go(
    project: Project, manager: User, client_of: ClientOf, example: Any
) -> None:
    Project.objects.update(kind=Project.Kind.SINGLE)
    client: Client = client_of(manager)
    client.import_rows(SLUG, ROWS)
    with pytest.raises(SystemExit, match=r"^This rule labels pairs; the project shows 1 answer at a time\.$"):
        example.label(client, SLUG, most=9)
    assert not Lease.objects.exists()
    assert not Judgment.objects.exists()


@pytest.mark.parametrize(("file", "start"), [("csv", b"prompt,"), ("parquet", b"PAR1"), ("jsonl", b'{"prompt"')])
def test_an_export_of_any_kind_is_kept_as_a_file_that_comes_back(
    project: Project, manager: User, client_of: ClientOf, tmp_path: Path, file: str, start: bytes
) -> None:
    client: Client = client_of(manager)
    client.import_rows(SLUG, VOTED, judged_by="a-data-set")
    path = client.export_file(SLUG, tmp_path / "pairs", file=file, shape="preference-text")
    assert path.read_bytes().startswith(start)
    assert [one.name for one in tmp_path.iterdir()] == ["pairs"]
    report = client.import_file(SLUG, path, judged_by="the-file")
    assert (report.rows, report.duplicates, report.judgments_added) == (1, 1, 1)
    with pytest.raises(ValueError, match="export_file"):
        next(client.export(SLUG, file=file))


def test_a_manager_works_through_the_client(project: Project, manager: User, client_of: ClientOf) -> None:
    client: Client = client_of(manager)
    assert client.me().username == "mara"
    assert [one.slug for one in client.projects()] == [SLUG]
    assert client.change_project(SLUG, overlap=2).overlap == 2
    assert client.archive(SLUG).archived_at is not None
    assert ([one.slug for one in client.projects()], [one.slug for one in client.projects(archived=True)]) == (
        [],
        [SLUG],
    )
    assert client.reopen(SLUG).archived_at is None

    report = client.import_rows(SLUG, [*ROWS, {"prompt": "Only this"}], author_label="theirs")
    assert (report.comparisons_added, [bad.line for bad in report.errors]) == (3, [4])
    assert [one.id for one in client.imports(SLUG)] == [report.id]

    pair = client.lease(SLUG)
    assert pair is not None
    client.extend(SLUG, pair)
    client.submit(SLUG, pair, "a2", reason="clearer", active_seconds=0.01)
    again = client.undo(SLUG)
    assert again.answers == pair.answers
    vote = client.submit(SLUG, again, "b1")
    skipped = client.lease(SLUG)
    assert skipped is not None
    client.skip(SLUG, skipped, "broken")
    assert client.lease(SLUG) is not None
    assert client.why == ""
    client.release(SLUG)

    assert [one.id for one in client.own_judgments(SLUG)] == [vote.id]
    (judgment,) = client.judgments(SLUG, annotator="mara")
    assert (judgment.id, judgment.strength) == (vote.id, 1)
    assert len(list(client.judgments(SLUG, withdrawn=True))) == 2
    (preference,) = client.preferences(SLUG)
    assert (preference.chosen.text, preference.chosen.author) == (pair.b, "theirs")
    assert preference.prompt.messages[0].content == pair.messages[0].content
    assert len(list(client.comparisons(SLUG))) == 3
    assert client.quality(SLUG).computed_at is None  # asked for by this
    (row,) = client.export(SLUG, shape="preference-text", annotators=["mara"])
    assert (row["chosen"], row["rejected"]) == (pair.b, pair.a)


def test_why_there_is_no_pair_can_be_asked(project: Project, ann: User, client_of: ClientOf) -> None:
    client: Client = client_of(ann)
    assert client.lease(SLUG) is None
    assert client.why == "empty"


def test_a_project_without_a_slug_is_not_asked_for() -> None:
    client = Client("http://127.0.0.1:9", "pfl_x", tries=1)
    with pytest.raises(ValueError, match="slug"):
        client.project("")
    with pytest.raises(NoAnswerError, match="/projects/a%2Fb%3Fc"):
        client.project("a/b?c")


def test_a_row_with_half_a_character_is_the_servers_to_report(
    project: Project, manager: User, client_of: ClientOf
) -> None:
    report = client_of(manager).import_rows(SLUG, [*VOTED, {**VOTED[0], "prompt": "half: \ud800"}])
    assert (report.comparisons_added, [bad.line for bad in report.errors]) == (1, [2])


def test_a_file_is_imported(project: Project, manager: User, client_of: ClientOf, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"prompt": "Why?", "chosen": "So.", "rejected": "Hm."}\n')
    report = client_of(manager).import_file(SLUG, path, judged_by="a-data-set")
    assert (report.file_name, report.judgments_added, report.judged_by) == ("pairs.jsonl", 1, "a-data-set")


def test_lists_longer_than_a_page_are_read_to_the_end(
    project: Project, manager: User, client_of: ClientOf, make_comparison: MakeComparison
) -> None:
    made = [make_comparison().pk for _ in range(103)]
    assert [one.id for one in client_of(manager).comparisons(SLUG)] == made


def test_what_the_server_refuses_is_raised_with_what_to_do(project: Project, ann: User, client_of: ClientOf) -> None:
    with pytest.raises(ApiError, match="Make a token with this scope") as raised:
        next(client_of(ann, Scope.LABEL).projects())
    assert (raised.value.status, raised.value.code) == (403, "scope_missing")
    with pytest.raises(ApiError) as raised:
        client_of(ann).project("nothing")
    assert raised.value.code == "not_found"


def test_another_vote_on_a_judged_pair_is_an_error_of_its_own(
    project: Project, ann: User, client_of: ClientOf, make_comparison: MakeComparison
) -> None:
    make_comparison()
    client: Client = client_of(ann)
    pair = client.lease(SLUG)
    assert pair is not None
    vote = client.submit(SLUG, pair, "a2")
    assert client.submit(SLUG, pair, "a2").id == vote.id
    with pytest.raises(AlreadyJudgedError, match="undo"):
        client.submit(SLUG, pair, "b2")
    with pytest.raises(AlreadyJudgedError):
        client.skip(SLUG, pair, "broken")


def test_a_server_that_is_not_there_is_named() -> None:
    client = Client("http://127.0.0.1:9", "pfl_x", tries=1)
    with pytest.raises(NoAnswerError, match="/api/v1/me"):
        client.me()


def test_a_vote_whose_answer_was_lost_is_sent_again_and_given_once(
    project: Project, ann: User, client_of: ClientOf, make_comparison: MakeComparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_comparison()
    client: Client = client_of(ann)
    pair = client.lease(SLUG)
    assert pair is not None
    send = client.session.request
    keys: list[str] = []

    def lose_the_first_answer(*arguments: Any, **more: Any) -> requests.Response:
        keys.append(more["headers"]["Idempotency-Key"])
        answer = send(*arguments, **more)
        if len(keys) == 1:
            raise requests.ConnectionError("the line broke")
        return answer

    monkeypatch.setattr(client.session, "request", lose_the_first_answer)
    vote = client.submit(SLUG, pair, "a")
    assert (len(keys), len(set(keys))) == (2, 1)
    assert Judgment.objects.get().pk == vote.id


def test_the_client_waits_as_long_as_the_rate_limit_says(
    project: Project, ann: User, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    client: Client = client_of(ann)
    waited: list[float] = []
    send = client.session.request

    def refuse_once(*arguments: Any, **more: Any) -> requests.Response:
        answer = send(*arguments, **more)
        if not waited:
            answer.status_code = 429
            answer.headers["Retry-After"] = "7"
        return answer

    monkeypatch.setattr(client.session, "request", refuse_once)
    monkeypatch.setattr("prefloop_client.client.time.sleep", waited.append)
    assert client.me().username == "ann"
    assert waited == [7.0]
