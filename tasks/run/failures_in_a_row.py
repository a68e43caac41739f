"""Failures in a row that speak of the provider and not of the items: they stop the run, and fail nothing.

A login page, a gateway without the model or a model that answers nothing does the same to every item, and each may be
paid for. An outage is another thing: it is waited for (:mod:`mediamill.tasks.calls.provider_gate`).
"""

from __future__ import annotations

from collections.abc import Callable

from mediamill.tasks.calls.failure_streak import RecentShare, count_for_chance
from mediamill.tasks.domain import Failure, Item, Outcome, Result
from mediamill.tasks.errors import RunStopped, TooManyFailures

COUNTED_KINDS = frozenset(
    {"redirect", "not_found", "bad_request", "not_supported", "bad_reply", "bad_picture", "empty_answer"}
)
"""Kinds that an item can cause, and a provider that has turned bad as well."""
_ANSWERED_KINDS = frozenset({"refused", "moderated", "cut_off", "misfit", "too_long", "too_large"})
"""Kinds that speak of the item, and say that the model itself was at work. Any other says nothing either way."""
_DEFAULT_LIMIT = 20
_CHANCE = 1e-6
"""Where many items fail by themselves, it takes a row so long that it comes by chance this rarely."""


class FailuresInARow:
    """The items of one run that failed in a row, each by a request of its own that this run sent.

    Args:
        limit: how many stop the run; 0 for never, None for 20, or more where many fail at random.
        request_stop: ends the run.

    Attributes:
        is_over_limit: True once they stopped the run.
        items: the ids of those that have no earlier result, by shard; none of them is to fail once the run is stopped.
    """

    def __init__(self, limit: int | None, request_stop: Callable[[RunStopped], None]) -> None:
        self.is_over_limit = False
        self.items: dict[int, list[str]] = {}
        self._limit = limit
        self._request_stop = request_stop
        self._share = RecentShare()
        self._share_before = 0.0
        self._first = ""
        self._requests = set[str]()

    def add(self, item: Item, shard: int, outcome: Outcome, request: str | None) -> None:
        """Take in an item that has ended.

        Args:
            item: the item.
            shard: its shard.
            outcome: what became of it.
            request: the last request that was sent for it in this run; None where everything was in the journal.
        """
        if request is None:
            return
        if isinstance(outcome, Result) or outcome.kind in _ANSWERED_KINDS:
            self._share.add(is_so=False)
            if not self.is_over_limit:
                self.items.clear()
                self._requests.clear()
        elif outcome.kind in COUNTED_KINDS:
            self._add_failure(item, shard, outcome, request)

    def _add_failure(self, item: Item, shard: int, failure: Failure, request: str) -> None:
        if not self._requests:
            self._share_before, self._first = self._share.value, failure.message
        self._share.add(is_so=True)
        self._requests.add(request)
        if not item.has_result:
            self.items.setdefault(shard, []).append(item.item_id)
        if self._limit == 0 or self.is_over_limit or len(self._requests) < self._get_limit():
            return
        self.is_over_limit = True
        self._request_stop(
            TooManyFailures(
                f"{len(self._requests)} requests in a row failed, with no success between; the first: {self._first}",
                hint="see what the provider answers now (its address, a proxy, the model), then run again: no item is "
                "failed by them; --max-failures-in-a-row 0 goes on whatever fails",
            )
        )

    def _get_limit(self) -> int:
        if self._limit is not None:
            return self._limit
        return max(_DEFAULT_LIMIT, count_for_chance(self._share_before, _CHANCE))
