"""Every Ask has its pinned request key, wire and request, so nothing is bought again."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.providers.pinned_requests import FIXTURE, describe_ask, describe_limits, digest, iter_cases

PINNED: dict[str, dict[str, Any]] = orjson.loads(FIXTURE.read_bytes())
CASES = {case[0]: case[1:] for case in iter_cases()}


def test_every_pinned_ask_still_exists() -> None:
    assert set(PINNED["digests"]) <= set(CASES)


@pytest.mark.parametrize("provider", sorted({rest[0] for rest in CASES.values()}))
def test_every_ask_has_its_pinned_key_wire_and_request(provider: str) -> None:
    for name, rest in CASES.items():
        if rest[0] != provider or name not in PINNED["digests"]:
            continue
        found = describe_ask(*rest)
        if name in PINNED["full"]:
            assert orjson.loads(orjson.dumps(found)) == PINNED["full"][name], name
        assert digest(found) == PINNED["digests"][name], name


def test_limits_and_chosen_models_are_as_pinned() -> None:
    pinned = {name: digest(describe_limits(*name.split())) for name in PINNED["limits"]}
    assert pinned == PINNED["limits"]
