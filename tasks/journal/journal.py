"""The journal: one database, and a view for each kind of record in it."""

from __future__ import annotations

from mediamill.tasks.journal.asks import Asks
from mediamill.tasks.journal.attempts import Attempts
from mediamill.tasks.journal.caches import FileHashes, LearnedLimits
from mediamill.tasks.journal.cut_points import CutPointStore
from mediamill.tasks.journal.database import JournalDatabase, JournalLocation
from mediamill.tasks.journal.documents import Documents
from mediamill.tasks.journal.item_history import ItemHistory
from mediamill.tasks.journal.items import Items
from mediamill.tasks.journal.lost_requests import LostRequestLedger
from mediamill.tasks.journal.migrations import LATEST_VERSION
from mediamill.tasks.journal.outcomes import Outcomes
from mediamill.tasks.journal.output_binding import Output
from mediamill.tasks.journal.parts import Parts
from mediamill.tasks.journal.runs import Runs
from mediamill.tasks.journal.sidecars import Sidecars


class Journal(JournalDatabase):
    """The record of every request, reply, cost and outcome. One for each OUT in a process; safe from any thread."""

    def __init__(self, location: JournalLocation, version: int = LATEST_VERSION) -> None:
        super().__init__(location, version)
        self.asks = Asks(self, location.blobs)
        self.attempts = Attempts(self)
        self.lost_requests = LostRequestLedger(self)
        self.items = Items(self)
        self.item_history = ItemHistory(self, location.blobs)
        self.outcomes = Outcomes(self)
        self.parts = Parts(self)
        self.output = Output(self)
        self.documents = Documents(self)
        self.runs = Runs(self)
        self.sidecars = Sidecars(self)
        self.file_hashes = FileHashes(self)
        self.learned_limits = LearnedLimits(self)
        self.cut_points = CutPointStore(self)
