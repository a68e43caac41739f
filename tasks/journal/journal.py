"""The journal: one database, and a view for each thing it remembers."""

from __future__ import annotations

from mediamill.tasks.journal.asks import Asks
from mediamill.tasks.journal.attempts import Attempts
from mediamill.tasks.journal.caches import Ceilings, Files
from mediamill.tasks.journal.cut_points import CutPoints
from mediamill.tasks.journal.database import JournalDatabase, Place
from mediamill.tasks.journal.items import Items
from mediamill.tasks.journal.outcomes import Outcomes
from mediamill.tasks.journal.output_binding import Outs
from mediamill.tasks.journal.parts import Parts
from mediamill.tasks.journal.runs import Runs


class Journal(JournalDatabase):
    """What was asked, answered and paid. Open one for each OUT in a process; safe to use from any thread."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.asks = Asks(self, place.blobs)
        self.attempts = Attempts(self)
        self.items = Items(self)
        self.outcomes = Outcomes(self)
        self.parts = Parts(self)
        self.outs = Outs(self)
        self.runs = Runs(self)
        self.files = Files(self)
        self.ceilings = Ceilings(self)
        self.cuts = CutPoints(self)
