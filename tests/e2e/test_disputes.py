"""A reviewer settles what two people disagree about, by keys or without them."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from annotation.models import Judgment, Membership, Role, User
from annotation.quality.computing import compute
from annotation.services import record_judgment
from tests.e2e.people import make_annotator, make_project, many

DISPUTES = "/projects/everyday-help/adjudicate/"


def test_a_reviewer_settles_a_pair_by_a_key_unless_single_keys_are_off(
    page: Page, live_stack: object, sign_in: Callable[[User], None]
) -> None:
    project = make_project(pairs=many(1), overlap=2)
    pair = project.comparisons.get()
    for name, (first, second) in (("nina", pair.response_ids), ("omar", pair.response_ids[::-1])):
        record_judgment(comparison=pair, annotator=make_annotator(project, name), tiers=[[first], [second]])
    compute(project)
    reviewer = User.objects.create_user("rita")
    Membership.objects.create(project=project, user=reviewer, role=Role.REVIEWER)
    sign_in(reviewer)

    page.goto(DISPUTES)
    page.get_by_role("checkbox", name="Use single keys").uncheck()
    page.reload()
    expect(page.get_by_role("checkbox", name="Use single keys")).not_to_be_checked()
    page.keyboard.press("1")
    page.wait_for_timeout(300)
    assert not Judgment.objects.decisions().exists()
    page.get_by_role("checkbox", name="Use single keys").check()
    page.keyboard.press("1")
    expect(page.get_by_role("heading", name="Nothing to settle")).to_be_visible()
    assert Judgment.objects.decisions().get().annotator == reviewer
