"""The requests of one item: each with its attempts, or with where its answer came from."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from mediamill.tasks.explain.item_story import AttemptStory, RequestStory, ReuseStory
from mediamill.tasks.explain.shown_values import hide_url_secrets
from mediamill.tasks.journal.claim_owners import LEASE_SECONDS
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.providers.errors.lenient_json import decode_text
from mediamill.tasks.untrusted_text import is_readable, mask_keys

_SAMPLE_RATE = 16_000
_SHARE_STEP = Decimal("1e-12")


class RequestReader:
    """Reads the requests of one item.

    Args:
        journal: of the item's OUT.
        item_id: the item's id.
        record: what the item's last processing kept; empty where nothing was kept.
        result: the item's result, whose request key tells the first request of older journals.
        owner: the run that works on OUT now, in words.
    """

    def __init__(
        self,
        journal: Journal,
        item_id: str,
        record: Mapping[str, Any],
        result: Mapping[str, Any] | None,
        owner: str | None,
    ) -> None:
        self._journal, self._history = journal, journal.item_history
        self._item_id, self._record, self._result, self._owner = item_id, record, result, owner
        self._attempts = self._history.load_attempts(item_id)
        replies = self._history.load_unread_replies([attempt["call_id"] for attempt in self._attempts])
        for attempt in self._attempts:
            reply = replies.get(attempt["call_id"])
            attempt["reply"] = None if reply is None else _to_shown_body(reply.head)
            attempt["reply_bytes"] = None if reply is None else reply.size
            attempt["reply_file"] = None if reply is None or reply.path is None else str(reply.path)
            if attempt["outcome"] == "sending" and attempt["run_id"] not in (owner or ""):
                attempt["outcome"] = "interrupted"

    def read(self) -> list[RequestStory]:
        """The requests of the item's last processing in their order, then those of earlier ones."""
        recorded: Sequence[Mapping[str, Any]] = self._record.get("requests", ())
        keys = [request["key"] for request in recorded if request.get("key")]
        if not recorded and self._result and self._result.get("request_key"):
            keys = [str(self._result["request_key"])]
            recorded = [{"key": keys[0]}]
        earlier = [key for attempt in self._attempts for key in self._get_own_keys(attempt) if key not in keys]
        asks = self._history.load_asks(list(dict.fromkeys([*keys, *earlier])))
        calls = self._history.load_calls([ask["call_id"] for ask in asks.values() if ask["call_id"]])
        other_outs = {call["out_id"] for call in calls.values()} - {self._journal.out_id}
        paths = self._history.load_out_paths(sorted(other_outs))
        current_run = self._find_current_run(keys)
        stories = [
            self._to_story(request, asks.get(request.get("key", "")), calls, paths, is_current=True)
            for request in recorded
        ]
        for key in dict.fromkeys(earlier):
            is_current = any(attempt["run_id"] == current_run for attempt in self._select_attempts(key))
            stories.append(self._to_story({"key": key}, asks.get(key), calls, paths, is_current=is_current))
        return stories

    def _find_current_run(self, keys: Sequence[str]) -> str | None:
        """The run of the newest attempt, where it is not an older one than what was kept."""
        if not self._attempts:
            return None
        newest = self._attempts[-1]
        kept_at = self._record.get("at", 0)
        return newest["run_id"] if newest["started_at"] > kept_at or not keys else None

    def _get_own_keys(self, attempt: Mapping[str, Any]) -> list[str]:
        pairs = zip(attempt["item_ids"], attempt["request_keys"], strict=False)
        return [key for item_id, key in pairs if item_id == self._item_id]

    def _select_attempts(self, key: str | None) -> list[dict[str, Any]]:
        return [attempt for attempt in self._attempts if key in self._get_own_keys(attempt)]

    def _to_story(
        self,
        request: Mapping[str, Any],
        ask: Mapping[str, Any] | None,
        calls: Mapping[str, Mapping[str, Any]],
        paths: Mapping[str, str],
        *,
        is_current: bool,
    ) -> RequestStory:
        key, sent = request.get("key"), dict(request.get("sent", {}))
        start, end = sent.pop("start", None), sent.pop("end", None)
        call = calls.get(ask["call_id"] or "") if ask is not None else None
        return RequestStory(
            key=key,
            sent=sent,
            from_seconds=None if start is None else start / _SAMPLE_RATE,
            to_seconds=None if end is None else end / _SAMPLE_RATE,
            state=None if ask is None else ask["state"],
            current=is_current,
            error_kind=request.get("error_kind"),
            job_id=None if ask is None else ask["remote_id"],
            held=ask is not None and self._is_held(ask),
            reused=self._find_reuse(request, call, paths) if call and call["outcome"] == "replied" else None,
            attempts=tuple(_to_attempt_stories(self._select_attempts(key), self._item_id)),
        )

    def _is_held(self, ask: Mapping[str, Any]) -> bool:
        """Whether a run that is alive works on it. A dead run's lease goes on for a while, its lock on OUT does not."""
        now = time.time_ns() // 1000
        is_leased = now < ask["lease"] <= now + LEASE_SECONDS * 1_000_000 and ask["state"] != "replied"
        return is_leased and (ask["out_id"] != self._journal.out_id or ask["owner"] in (self._owner or ""))

    def _find_reuse(
        self, request: Mapping[str, Any], call: Mapping[str, Any], paths: Mapping[str, str]
    ) -> ReuseStory | None:
        """Where the answer came from, where the item did not buy it when it was last done."""
        this_run = self._record.get("run_id") or (self._result or {}).get("run_id")
        if call["out_id"] != self._journal.out_id:
            out = paths.get(call["out_id"]) or "an OUT that this journal does not name"
            return _to_reuse("other_out", out, call)
        if self._item_id not in call["item_ids"] or request.get("cached"):
            return _to_reuse("other_item", "", call) if self._item_id not in call["item_ids"] else None
        return _to_reuse("earlier_run", "", call) if this_run is not None and call["run_id"] != this_run else None


def _to_reuse(source: Any, out: str, call: Mapping[str, Any]) -> ReuseStory:
    answered_at = call["started_at"] + 1000 * (call["latency_ms"] or 0)
    return ReuseStory(source, out, call["run_id"], tuple(call["item_ids"]), call["call_id"], answered_at)


def _to_attempt_stories(found: Sequence[Mapping[str, Any]], item_id: str) -> list[AttemptStory]:
    stories, previous_end = [], None
    for attempt in found:
        started, waited, took = attempt["started_at"], attempt["wait_ms"], attempt["latency_ms"]
        pause = None
        if previous_end is not None and attempt["attempt"] > 1:
            pause = max((started - previous_end) // 1000 - (waited or 0), 0)
        stories.append(_to_attempt_story(attempt, item_id, pause))
        previous_end = started + 1000 * (took or 0)
    return stories


def _to_attempt_story(attempt: Mapping[str, Any], item_id: str, pause_ms: int | None) -> AttemptStory:
    count = len(attempt["request_keys"]) or 1
    own = attempt["item_ids"].count(item_id) or 1
    cost, cost_max = (_to_share(attempt[name], own, count) for name in ("cost_usd", "cost_max_usd"))
    return AttemptStory(
        call_id=attempt["call_id"],
        run_id=attempt["run_id"],
        number=attempt["attempt"],
        started_at=attempt["started_at"],
        limit_ms=attempt["wait_ms"],
        pause_ms=pause_ms,
        took_ms=attempt["latency_ms"],
        outcome=attempt["outcome"],
        status=attempt["http_status"],
        error_kind=attempt["error_kind"],
        words=None if attempt["error_message"] is None else hide_url_secrets(attempt["error_message"]),
        request_id=attempt["request_id"],
        provider=attempt["provider"],
        model=attempt["model"],
        operation=attempt["operation"],
        usage=attempt["usage"],
        cost_usd=cost,
        cost_max_usd=None if cost is not None else cost_max,
        cost_basis=attempt["cost_basis"],
        price_source=attempt["price_source"],
        shared_by=count,
        reply=attempt["reply"],
        reply_bytes=attempt["reply_bytes"],
        reply_file=attempt["reply_file"],
    )


def _to_shown_body(body: bytes) -> str | None:
    """A reply's body as text without keys and signed links; None where it is no text."""
    if not body:
        return None
    text = decode_text(body)
    return hide_url_secrets(mask_keys(text)) if is_readable(text) else None


def _to_share(usd: str | None, own: int, count: int) -> Decimal | None:
    """The item's share of an amount; exact where the request is its own."""
    if usd is None or own == count:
        return None if usd is None else Decimal(usd)
    return (Decimal(usd) * own / count).quantize(_SHARE_STEP)
