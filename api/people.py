"""Who can be asked for by name: the people of the project. Others are told of as nobody is."""

from __future__ import annotations

from collections.abc import Mapping

from django.db.models import Q

from annotation.models import Membership, Project, User, VoteCount
from api.errors import FieldOut, invalid_fields
from api.strict import unknown


def people_of(project: Project, names: Mapping[str, str]) -> list[int]:
    """The ids of members and voters by their usernames, which stand at the places where the client wrote them.

    Raises Problem 422 for whom the project does not know.
    """
    if not names:
        return []
    members = Membership.objects.filter(project=project).values("user")
    voters = VoteCount.objects.filter(project=project).values("annotator")
    people = User.objects.filter(Q(pk__in=members) | Q(pk__in=voters)).order_by("username")
    ids = dict(people.values_list("username", "pk"))
    wrong = {where: unknown(name, ids, "member or voter") for where, name in names.items() if name not in ids}
    if wrong:
        raise invalid_fields([FieldOut(where=where, problem=problem) for where, problem in wrong.items()])
    return [ids[name] for name in names.values()]
