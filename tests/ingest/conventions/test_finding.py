"""How many episodes it takes to say something."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.conventions.finding import AGAINST, AGREES, UNDECIDED, counted, lower_bound


def finding(votes, severity="contradicts"):
    return counted(
        votes,
        check="c",
        subject="s",
        measured=None,
        agrees="yes",
        contradicts="no",
        unsure="perhaps",
        severity=severity,
    )


@pytest.mark.parametrize(
    ("votes", "status"),
    [
        ([], "unsure"),
        ([UNDECIDED] * 30, "unsure"),
        ([AGAINST] * 2, "unsure"),
        ([AGAINST] * 3, "contradicts"),
        ([AGREES] * 3, "agrees"),
        ([AGAINST] * 3 + [UNDECIDED] * 20, "contradicts"),
        ([AGAINST] * 4 + [AGREES] * 2, "unsure"),
        ([AGAINST] * 20 + [AGREES] * 5, "contradicts"),
    ],
)
def test_it_speaks_where_most_episodes_surely_say_so(votes, status):
    assert finding(votes).status == status


def test_what_is_only_noticed_needs_no_more_than_most_of_three():
    assert finding([AGAINST] * 4 + [AGREES] * 2, severity="noticed").status == "noticed"
    assert finding([AGAINST] * 2, severity="noticed").status == "unsure"


def test_an_unsure_finding_says_how_many_could_tell():
    found = finding([AGAINST, UNDECIDED, UNDECIDED])

    assert (found.episodes, found.against, found.confidence) == (1, 1, 0.0)
    assert "1 of 3 episodes could tell, 1 against" in found.message


@given(total=st.integers(1, 1000), data=st.data())
def test_the_bound_is_below_the_share_and_grows_with_it(total, data):
    count = data.draw(st.integers(0, total - 1))

    assert 0 <= lower_bound(count, total) <= count / total
    assert lower_bound(count, total) < lower_bound(count + 1, total) < 1


@given(votes=st.lists(st.sampled_from([AGAINST, AGREES, UNDECIDED]), max_size=40))
def test_nothing_agrees_and_contradicts_at_once(votes):
    mirrored = {"agrees": "contradicts", "contradicts": "agrees", "unsure": "unsure"}

    assert finding([-vote for vote in votes]).status == mirrored[finding(votes).status]
