"""mediamill compare: an OUT against references, or against another OUT."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mediamill.flows.cli.completion import complete_out
from mediamill.flows.cli.console import print_json, print_line
from mediamill.flows.cli.help_layout import HelpfulCommand
from mediamill.tasks.formatting import format_dollars, pluralize

if TYPE_CHECKING:
    from mediamill.tasks.out.comparison import Comparison, Side
    from mediamill.tasks.out.text_errors import TextErrors

_SHOWN_PAIRS, _SHOWN_CHARACTERS = 10, 160


@click.command("compare", cls=HelpfulCommand)
@click.argument("out", type=click.Path(path_type=Path), shell_complete=complete_out)
@click.argument("reference", type=click.Path(path_type=Path))
@click.option("--key", metavar="COLUMN", help="REFERENCE's column of ids, paths or file names; default: found by name")
@click.option("--text-column", metavar="COLUMN", help="REFERENCE's column of the right texts; default: found by name")
@click.option("--columns", metavar="A,B", help="columns to compare field by field; default: all that both have")
@click.option(
    "--to", type=click.Path(path_type=Path), help="a .parquet to write: a row for each item or speaker, worst first"
)
@click.option("--json", "as_json", is_flag=True, help="print one JSON object instead of text")
@click.option("--debug", is_flag=True, help="print tracebacks")
def command(
    out: Path,
    reference: Path,
    key: str | None,
    text_column: str | None,
    columns: str | None,
    to: Path | None,
    *,
    as_json: bool,
    debug: bool,  # noqa: ARG001
) -> int:
    """Compare OUT with REFERENCE: a .csv, .tsv, .jsonl or .parquet of what is right, or another OUT.

    Transcripts get word and character error rates by language and speaker, normalised as in Whisper's paper. Several
    rows about one recording, each with a speaker, are compared each with what that speaker says. Other results are
    compared field by field. It needs the extra: pip install 'mediamill[compare]'.
    """
    from mediamill.tasks.errors import UsageError
    from mediamill.tasks.out.comparison import compare, write_comparison

    if to is not None and to.suffix != ".parquet":
        raise UsageError(f"{to}: only Parquet is written", hint="end the name in .parquet")
    chosen = [name.strip() for name in columns.split(",")] if columns else ()
    found = compare(out.expanduser(), reference.expanduser(), key=key, columns=chosen, text_column=text_column)
    if to is not None:
        write_comparison(found, to.expanduser())
    if as_json:
        print_json(_to_json(found))
    else:
        for line in _format_lines(found, reference):
            print_line(line)
        if to is not None:
            print_line(f"all items: {to}")
    return 0


def _to_json(found: Comparison) -> dict[str, Any]:
    return {
        "items": found.n_items,
        "compared": len(found.items),
        "identical": found.identical,
        "without_reference": found.without_reference,
        "without_result": found.without_result,
        "other_speakers": [source for source, _, _ in found.other_speakers],
        "errors": _errors_to_json(found.total) if found.total else None,
        "by": {
            group: {value: {**_errors_to_json(errors), "items": count} for value, (errors, count) in values.items()}
            for group, values in found.by_group.items()
        },
        "fields": {name: {"equal": equal, "near": near} for name, (equal, near) in found.fields.items()},
        "sides": [_side_to_json(side) for side in found.sides],
        "worst": [{"item_id": item.item_id, "score": item.score} for item in found.list_worst()],
    }


def _side_to_json(side: Side) -> dict[str, Any]:
    return {**asdict(side), "cost_usd": None if side.cost_usd is None else str(side.cost_usd)}


def _errors_to_json(errors: TextErrors) -> dict[str, Any]:
    names = ("words", "substituted", "left_out", "added", "wer", "cer")
    return {name: getattr(errors, name) for name in names}


def _format_lines(found: Comparison, reference: Path) -> Iterator[str]:
    from mediamill.tasks.out.comparison import describe_other_speakers

    yield (
        f"{_count(found)} compared with {reference} ({found.without_reference} without a "
        f"reference, {found.without_result} of its rows without a result)"
    )
    if found.other_speakers:
        yield describe_other_speakers(found.other_speakers)
    yield f"without any difference: {found.identical} of {len(found.items)}"
    if found.total is not None:
        yield f"all: {_format_errors(found.total)}"
        for group, values in found.by_group.items():
            for value, (errors, count) in sorted(values.items()):
                yield f"{group} {value} ({count}): {_format_errors(errors)}"
        if found.total.replaced:
            common = found.total.replaced.most_common(_SHOWN_PAIRS)
            yield "most often: " + ", ".join(f"{a} -> {b} {count}" for (a, b), count in common)
    for name, (equal, near) in found.fields.items():
        yield f"{name}: {equal:.1%} equal, nearness {near:.3f}"
    for side in found.sides if len(found.sides) > 1 else ():
        cost = "unknown" if side.cost_usd is None else format_dollars(side.cost_usd)
        time = "" if side.seconds is None else f", {side.seconds:.2f} s an item"
        yield f"{side.name}: {side.model}; cost {cost}{time}"
    for item in found.list_worst():
        speaker = item.groups.get("speaker")
        yield f"{item.score:6.3f}  {item.source}{f', {speaker}' if speaker else ''}"
        yield f"        result     {_shorten(item.value)}"
        yield f"        reference  {_shorten(item.reference)}"


def _count(found: Comparison) -> str:
    items = pluralize(found.n_items, "item")
    return items if len(found.items) == found.n_items else f"{items}, {len(found.items)} speakers in all,"


def _format_errors(errors: TextErrors) -> str:
    if errors.wer is None or errors.cer is None:
        return f"nothing is said; {pluralize(errors.added, 'word')} added"
    return (
        f"WER {errors.wer:.3f}, CER {errors.cer:.3f} ({errors.word_errors} of {pluralize(errors.words, 'word')}: "
        f"{errors.substituted} substituted, {errors.left_out} left out, {errors.added} added)"
    )


def _shorten(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _SHOWN_CHARACTERS else f"{flat[:_SHOWN_CHARACTERS]}..."
