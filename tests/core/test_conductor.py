"""The state machine of a job: whatever the order of the facts, it ends once and never goes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.core import conductor
from oblix_actors.core.catalogue import Candidate
from oblix_actors.core.conductor import GiveUp, JobState, Start
from oblix_actors.errors import KINDS, OblixError, Scope

A1, A2, B, C = (Candidate(p, m, "local", "ready") for p, m in (("a", "1"), ("a", "2"), ("b", "1"), ("c", "1")))


def started(action: conductor.Action) -> str:
    """Whom ``action`` starts."""
    assert isinstance(action, Start)
    return f"{action.number} {action.candidate.name}"


def test_a_failure_before_content_goes_to_the_next_candidate() -> None:
    state, action = conductor.begin((A1, B))
    assert started(action) == "1 a:1"
    state, action = conductor.bounced(state, 1, OblixError("upstream_reset", "reset"), shown=False)
    assert started(action) == "2 b:1"
    assert isinstance(action, Start)
    assert action.reason == "ready; after a:1 failed (upstream_reset)"


@pytest.mark.parametrize("code", [code for code, kind in KINDS.items() if kind.scope is Scope.PROVIDER])
def test_a_provider_that_fails_as_a_whole_is_not_asked_for_its_other_models(code: str) -> None:
    state, _ = conductor.begin((A1, A2, B))
    _, action = conductor.bounced(state, 1, OblixError(code, "no"), shown=False)
    assert started(action) == "2 b:1"


@pytest.mark.parametrize("code", [code for code, kind in KINDS.items() if kind.scope is Scope.MODEL])
def test_a_model_that_fails_leaves_its_provider_in_the_race(code: str) -> None:
    state, _ = conductor.begin((A1, A2, B))
    _, action = conductor.bounced(state, 1, OblixError(code, "no"), shown=False)
    assert started(action) == "2 a:2"


@pytest.mark.parametrize("code", [code for code, kind in KINDS.items() if kind.scope is Scope.REQUEST])
def test_a_request_that_is_at_fault_itself_is_not_tried_elsewhere(code: str) -> None:
    state, _ = conductor.begin((A1, B))
    error = OblixError(code, "no")
    state, action = conductor.bounced(state, 1, error, shown=False)
    assert (action, state.over) == (GiveUp(error), True)


def test_the_last_error_is_the_one_that_is_told() -> None:
    state, _ = conductor.begin((A1, B))
    state, _ = conductor.bounced(state, 1, OblixError("upstream_reset", "first"), shown=False)
    last = OblixError("upstream_connect", "last")
    state, action = conductor.bounced(state, 2, last, shown=False)
    assert action == GiveUp(last)


def test_a_failure_after_content_ends_the_job() -> None:
    state, _ = conductor.begin((A1, B))
    state, _ = conductor.claimed(state, 1)
    error = OblixError("upstream_reset", "reset")
    state, action = conductor.bounced(state, 1, error, shown=True)
    assert (action, state.over) == (GiveUp(error), True)


def test_a_plan_without_candidates_is_given_up() -> None:
    state, action = conductor.begin(())
    assert isinstance(action, GiveUp)
    assert state.over


errors = st.sampled_from(sorted(KINDS)).map(lambda code: OblixError(code, code))
facts = st.one_of(
    st.tuples(st.just("bounced"), st.integers(0, 6), errors, st.booleans()),
    st.tuples(st.just("claimed"), st.integers(0, 6), st.none(), st.none()),
    st.tuples(st.just("ended"), st.none(), st.none(), st.none()),
)


@given(st.lists(st.sampled_from([A1, A2, B, C]), max_size=5, unique=True).map(tuple), st.lists(facts, max_size=12))
def test_any_order_of_facts_ends_at_most_once(
    candidates: tuple[Candidate, ...], story: list[tuple[object, ...]]
) -> None:
    state, action = conductor.begin(candidates)
    given_up = int(isinstance(action, GiveUp))
    begun = [action.candidate] if isinstance(action, Start) else []
    for fact in story:
        was_over = state.over
        state, action = apply(state, fact)
        if isinstance(action, Start):
            begun.append(action.candidate)
            assert fact[0] == "bounced", "only a failure starts another attempt"
            assert fact[3] is False, "an attempt was started after one that the client has seen"
        given_up += isinstance(action, GiveUp)
        assert not (was_over and action is not None)
        assert state.over or not was_over
    assert given_up <= 1
    assert len(begun) == len(set(begun)), "a candidate was tried twice"


def apply(state: JobState, fact: tuple[object, ...]) -> tuple[JobState, conductor.Action]:
    """One fact, as the router would hand it over."""
    match fact:
        case ("bounced", int(number), OblixError() as error, bool(shown)):
            return conductor.bounced(state, number, error, shown=shown)
        case ("claimed", int(number), _, _):
            return conductor.claimed(state, number)
        case _:
            return conductor.ended(state), None
