"""Nothing is bought anew: every Ask has the request key, the wire and the request it had."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.providers.pinned_requests import FIXTURE, cases, digest, limits_of, outcome

PINNED: dict[str, dict[str, Any]] = orjson.loads(FIXTURE.read_bytes())
CASES = {case[0]: case[1:] for case in cases()}


def test_every_ask_that_was_pinned_is_still_made() -> None:
    assert set(PINNED["digests"]) <= set(CASES)


@pytest.mark.parametrize("provider", sorted({rest[0] for rest in CASES.values()}))
def test_every_ask_is_bought_under_the_name_it_had(provider: str) -> None:
    for name, rest in CASES.items():
        if rest[0] != provider or name not in PINNED["digests"]:
            continue
        told = outcome(*rest)
        if name in PINNED["full"]:
            assert orjson.loads(orjson.dumps(told)) == PINNED["full"][name], name
        assert digest(told) == PINNED["digests"][name], name


def test_limits_and_chosen_models_are_as_they_were() -> None:
    pinned = {name: digest(limits_of(*name.split())) for name in PINNED["limits"]}
    assert pinned == PINNED["limits"]
