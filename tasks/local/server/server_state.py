"""The state that all requests share, and the context of one request."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mediamill.tasks.local.asr_engines.base import AsrEngine
from mediamill.tasks.local.billing.bill import Bill, PaidCall
from mediamill.tasks.local.billing.price_list import PriceList
from mediamill.tasks.local.endpoints.sentence_encoder import SentenceEncoder
from mediamill.tasks.local.faults.fault_rules import Fault, FaultRule
from mediamill.tasks.local.media_generation.generation_state import GenerationState
from mediamill.tasks.local.ocr.engine import OcrEngine
from mediamill.tasks.local.sandbox.sandbox_sessions import SandboxSessions
from mediamill.tasks.local.server.bounded_workers import BoundedWorkers
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.file_store import FileStore
from mediamill.tasks.local.server.model_catalog import ModelCatalog
from mediamill.tasks.local.server.rate_limits import RateLimiter
from mediamill.tasks.local.server.request_body import ReceivedBody
from mediamill.tasks.local.server.settings import Settings
from mediamill.tasks.local.tts_engines.base import TtsEngine

if TYPE_CHECKING:
    from aiohttp import web

_ID_RNG = random.Random()  # noqa: S311 - ids only tell requests apart; the system's random bits cost a call each


@dataclass(slots=True)
class ServerState:
    """The state that all requests share.

    Attributes:
        catalog: the known models of each dialect.
        rng: decides random failures and latencies, in order of arrival.
        interpreters: sessions of the code interpreter.
        generation: jobs and files of images and videos.
        ocr_engine: reads text in pictures; None where it is not installed.
        sentence_encoder: embeds texts by their meaning; None where it is not installed.
        fault_rules: which requests break, and how.
        workers: processes for what a request could make endless.
        files: what clients have uploaded to be kept.
    """

    settings: Settings
    catalog: ModelCatalog
    asr_engine: AsrEngine
    tts_engine: TtsEngine
    prices: PriceList
    bill: Bill
    limiter: RateLimiter
    rng: random.Random
    interpreters: SandboxSessions
    generation: GenerationState
    ocr_engine: OcrEngine | None = None
    sentence_encoder: SentenceEncoder | None = None
    fault_rules: list[FaultRule] = field(default_factory=list)
    workers: BoundedWorkers = field(default_factory=BoundedWorkers)
    files: FileStore = field(default_factory=FileStore)

    def reset(self) -> None:
        """Clear the bill, jobs, files and fault rules; limits start unused, and the random numbers from the seed."""
        self.bill.reset()
        self.generation.jobs.reset()
        self.files.clear()
        self.fault_rules = []
        self.rng = random.Random(self.settings.seed)  # noqa: S311 - a rehearsal must be repeatable
        self.limiter = RateLimiter(self.limiter.settings, asyncio.get_running_loop().time)

    def stop_engines(self) -> None:
        """End the engines, interpreter sessions and jobs, with their processes and files."""
        self.asr_engine.close()
        for engine in (self.ocr_engine, self.sentence_encoder):
            if engine is not None:
                engine.close()
        self.interpreters.close()
        self.workers.close()
        self.generation.close()


@dataclass(slots=True)
class RequestContext:
    """One request: its dialect, its entry in the bill, the fault that breaks it.

    Attributes:
        body: the body of a request to a paid route, once it is read.
        filename: the upload's name, for fault rules.
        fault: breaks the reply; None when nothing does.
        arrived_at: seconds by the event loop's clock.
    """

    request: web.BaseRequest
    dialect: Dialect
    call: PaidCall
    body: ReceivedBody = field(init=False)
    filename: str | None = None
    fault: Fault | None = None
    arrived_at: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    request_id: str = field(default_factory=lambda: f"req_{_ID_RNG.getrandbits(128):032x}")

    @property
    def is_charged(self) -> bool:
        """The reply is charged, as a provider would charge it, unless the fault says otherwise."""
        return self.fault is None or self.fault.billed is not False
