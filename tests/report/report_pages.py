"""OUTs whose journal holds what a test wants, and their pages as the browser's parser sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

from mediamill.tasks.domain import Cost, Failure, Result
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.output_binding import Binding
from mediamill.tasks.report.build import build_report
from tests.journal.stores import make_item, reply, send, start_run


class PageNodes(HTMLParser):
    """Counts elements with their attributes' names, keeps the attributes' values and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: Counter[tuple[str, ...]] = Counter()
        self.values: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.other = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[(tag, *(name for name, _ in attrs))] += 1
        self.values += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def handle_comment(self, data: str) -> None:
        self.other += 1

    def handle_pi(self, data: str) -> None:
        self.other += 1


def parse_page(html: str) -> PageNodes:
    """The nodes of a page."""
    nodes = PageNodes()
    nodes.feed(html)
    nodes.close()
    return nodes


@contextmanager
def open_filled_journal(
    out: Path, text: str, *, results: int = 2, failures: int = 2, segments: int = 2
) -> Iterator[Journal]:
    """An OUT in which ``text`` stands wherever text from outside can stand."""
    import asyncio

    journal = asyncio.run(_fill_journal(out, text, results, failures, segments))
    yield journal
    journal.close()


async def _fill_journal(out: Path, text: str, results: int, failures: int, segments: int) -> Journal:
    journal = Journal.open(out)
    await start_run(journal, out, Binding.from_values(text, "transcribe", text, text, {}))
    names = [f"{n}{text}" for n in range(results + failures)]
    planned = [make_item(n, item_id=name, source=name, location=f"/in/{name}") for n, name in enumerate(names)]
    await journal.items.plan(planned, 1000)
    said = [{"id": n, "start": n, "end": n + 1, "text": text, "speaker": text} for n in range(segments)]
    more = {"language": text, "audio_seconds": 3.5, "cost_usd": Decimal("0.25"), "engine": text, "simulated": True}
    for one in planned[:results]:
        row = {"item_id": one.item_id, "text": text, "segments": said, **more}
        await journal.outcomes.record(one, 0, Result(one.item_id, {}), row)
    for one in planned[results:]:
        row = {"item_id": one.item_id, "error_message": text, "hint": text}
        await journal.outcomes.record(one, 0, Failure(one.item_id, text[:60], text), row)
    await send(journal, "k", "c1")
    await reply(journal, ["k"], "c1")
    await journal.asks.record_cost("c1", {"audio_seconds": "3.5"}, Cost(Decimal("0.25"), "metered", text))
    return journal


def build_page(out: Path, text: str, **counts: int) -> str:
    """The page of such an OUT."""
    with open_filled_journal(out, text, **counts) as journal:
        build_report(out, journal)
    return (out / "report.html").read_text(encoding="utf-8")
