"""The Prefect states in which runs end, and the exit codes they stand for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mediamill.flows.prefect_runtime.artifacts import make_artifact_key
from mediamill.flows.prefect_runtime.states import (
    find_exit_code,
    to_caught_up_state,
    to_end_state,
    to_nothing_yet_state,
    to_refused_state,
)
from mediamill.tasks.errors import MediamillError, OutputBusy, StorageError, UsageError
from mediamill.tasks.not_taken import NotTaken
from tests.flows.prefect_runtime.test_artifacts import make_summary


@pytest.mark.parametrize(
    ("changes", "kind", "name", "code"),
    [
        ({}, "COMPLETED", "Completed", 0),
        ({"state": "nothing"}, "COMPLETED", "Completed", 0),
        ({"state": "failures"}, "COMPLETED", "CompletedWithFailures", 3),
        ({"state": "stopped", "stopped_by": "budget"}, "CANCELLED", "BudgetReached", 4),
        ({"state": "stopped", "stopped_by": "run_deadline"}, "CANCELLED", "DeadlineReached", 4),
        ({"state": "stopped", "stopped_by": "account"}, "FAILED", "Stopped", 4),
        ({"state": "stopped", "stopped_by": "provider_gone"}, "FAILED", "Stopped", 4),
        ({"state": "cancelled", "stopped_by": "cancelled"}, "CANCELLED", "Cancelled", 4),
    ],
)
def test_a_limit_of_the_job_is_no_failure(changes: dict[str, Any], kind: str, name: str, code: int) -> None:
    state = to_end_state(replace(make_summary({}), **changes))
    assert (state.type.value, state.name, find_exit_code(state)) == (kind, name, code)


def test_a_run_that_left_files_which_are_too_new_says_so() -> None:
    summary = replace(make_summary({}), state="nothing", not_taken=NotTaken(unsettled=1, settle_seconds=60.0))
    assert (to_end_state(summary).message or "").endswith("; 1 file changed less than 60 s ago waits for the next run")


@pytest.mark.parametrize(
    ("error", "code"), [(UsageError("no key"), 2), (OutputBusy("held"), 5), (StorageError("full"), 1)]
)
def test_a_refusal_has_the_exit_code_of_its_error(error: MediamillError, code: int) -> None:
    assert find_exit_code(to_refused_state(error)) == code == error.exit_code


def test_a_run_with_nothing_to_do_is_none_that_failed() -> None:
    assert find_exit_code(to_caught_up_state("other")) == find_exit_code(to_nothing_yet_state("empty")) == 0


def test_outs_of_one_name_have_artifacts_of_their_own() -> None:
    keys = {make_artifact_key(out, "costs") for out in ("/a/nightly", "/b/nightly", "/b/Nightly", "/a/nightly/")}
    assert len(keys) == 3
    assert all(key.startswith("nightly-") and key.endswith("-costs") for key in keys)
