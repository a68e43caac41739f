"""Records have their fields beside plain words, and nothing of URLs that gives access."""

from __future__ import annotations

import logging

import pytest

from mediamill.tasks.run_log import PACKAGE_LOGGER, RUN_LOGGER, clean_text, read_fields, write_record


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a.wav", "a.wav"),
        ("https://u:p@media.example/a.wav?X-Signature=1#x", "https://media.example/a.wav"),
        ("what is this? no URL", "what is this? no URL"),
        ("a\nb\x1b[2J\u2028\u202e", "a\\x0ab\\x1b[2J\\u2028\\u202e"),
        ("x" * 400, "x" * 299 + "…"),
    ],
)
def test_text_from_outside_is_cleaned(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


def test_a_record_has_its_fields_and_leaves_out_none(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mediamill"):
        write_record(RUN_LOGGER, logging.INFO, "planned", "planned: 100 %s\n", items=3, item="a\nb", kind=None)
        write_record(RUN_LOGGER, logging.DEBUG, "sending", "not shown")
    [record] = caplog.records
    assert record.getMessage() == "planned: 100 %s\\x0a"
    assert read_fields(record) == {"event": "planned", "items": 3, "item": "a\\x0ab"}


def test_a_program_that_configures_no_logging_prints_nothing() -> None:
    assert any(isinstance(handler, logging.NullHandler) for handler in PACKAGE_LOGGER.handlers)
