"""Refusals that depend on our load, told from those that come whatever the load.

After a refusal the load is cut. That is an experiment: a limit between the old load and the new one refuses nothing any
more. Where refusals go on all the same, they are noise: the cuts are undone, and that share is no signal from then on.

Shares are counted by the numbers of requests, in the order in which they were sent: refusals come back faster than
answers do.
"""

from __future__ import annotations

import math

_CUT_MARGIN = 0.03
"""A load is low enough for a limit that showed in a share of refusals when it was cut by that share and this."""
_FELL_ODDS = 4.5
"""Refusals fell when so few of them have these odds (their natural logarithm) at the share before."""
_MAX_GROWTH = 1.06
"""Growth since the lowest load of a trial with which a refusal says nothing of the cuts."""
_HELD_GROWTH = 1.005
_MAX_REQUESTS = 300
"""Requests of a trial after which any growth ends it: the limit that it began at may be another one by now."""
_MAX_NOISE = 0.5
_MAX_HOLD_REFUSALS = 5.0
_SIGNAL_FACTOR, _SIGNAL_SHARE, _SIGNAL_ODDS = 1.6, 0.1, 9.9
"""A signal is told from noise by the odds (their natural logarithm) of so many times the noise, or so much more."""
_MAX_BLOCK_REQUESTS, _BLOCK_REFUSALS = 400.0, 20.0
"""Requests, or expected refusals, over which the share of noise is measured again."""
_TEST_REFUSALS, _SAME_SHARE = 8, 0.7
"""Refusals, and the share of the share before, from which a cut under noise has changed nothing."""
_NOISE_MARGIN = 2.0
_NO_NOISE = 0.002


class RefusalTrial:
    """Judges the refusals of one kind. The load is a rate, or a number of requests in flight.

    ``max_useless_cuts``: the signals at a load that is low enough, from which refusals are noise.
    """

    def __init__(self, max_useless_cuts: int) -> None:
        self._max_useless_cuts = max_useless_cuts
        self.noise = 0.0
        """Share of requests that is refused whatever the load."""
        self.share = 0.0
        """Share that was refused, beyond the noise, when the last signal came."""
        self._signal_number = 0  # requests from this on were sent after the last signal was known
        self._refused = 0  # since the last signal
        self._excess = 0.0
        self._excess_number = 0
        self._max_noise = 0.0
        self._run = (0, 0)  # the number from which there was an excess, and the refusals since
        self._block = (0, 0)  # the number at which the noise was last measured, and the refusals since
        self._test: tuple[float, float] | None = None  # the load before a cut under noise, and the share refused then
        self._start_load: float | None = None  # before the first cut of this trial; None while there is none
        self._reference_load = 0.0  # after the first cut
        self._lowest_load = 0.0
        self._counts = (0, 0)  # of this trial: requests, and refusals among them
        self._last_interval = (0, 0)  # the same, between the last two signals
        self.useless_cuts = 0

    def record_refusal(self, number: int) -> bool:
        """Count the refusal of request ``number``; True when it is a signal to cut the load."""
        if number < self._signal_number:
            return False
        self._refused += 1
        if not self.noise:
            return True
        self._block = self._block[0], self._block[1] + 1
        tolerated, limit = self._weigh_excess()
        self._excess -= tolerated * max(0, number - self._excess_number)
        if self._excess <= 0:
            self._excess, self._run = 0.0, (number, 0)
        self._excess += 1
        self._run = self._run[0], self._run[1] + 1
        self._excess_number = max(number, self._excess_number)
        if self._excess < limit:
            self._measure_noise(number)
            return False
        return True

    def _weigh_excess(self) -> tuple[float, float]:
        """The share of refusals that is tolerated, and the refusals beyond it that are a signal.

        That is the cumulative sum test of two shares, the noise and one that would cost too much.
        """
        noise = self.noise
        other = min(0.9, max(_SIGNAL_FACTOR * noise, noise + _SIGNAL_SHARE))
        up, down = math.log(other / noise), math.log((1 - noise) / (1 - other))
        return down / (up + down), _SIGNAL_ODDS / (up + down)

    @property
    def signal_refusals(self) -> float:
        """How many refusals beyond the noise make a signal, as far as growth is to wait for them."""
        return min(_MAX_HOLD_REFUSALS, self._weigh_excess()[1]) if self.noise else 1.0

    @property
    def expected_share(self) -> float:
        """The share of requests that is refused whatever the load, as far as it is known."""
        sent, refused = self._counts
        return max(self.noise, refused / sent if self.useless_cuts and self._start_load is not None else 0.0)

    def judge_cuts(self, number: int, next_number: int, load: float, *, is_repeated: bool = False) -> float | None:
        """Take in a signal: the refusal of request ``number`` at ``load``, while ``next_number`` was to be sent next.

        One that ``is_repeated`` has the cause of the one before, and shows nothing of the cut in between.

        Returns:
            The load to go back to, when refusals turned out to be noise; None when the load is to be cut.
        """
        sent, refused = number - self._signal_number + 1, self._refused
        run_sent, run_refused = (number - self._run[0] + 1, self._run[1]) if self.noise else (sent, refused)
        self.share = max(0.0, run_refused / (max(run_sent, run_refused) + 1) - self.noise)
        if self.noise:
            return self._judge_noise(number, next_number, load, run_refused / max(run_sent, run_refused))
        self._start_interval(next_number)
        before_sent, before_refused = self._counts
        fell = before_sent and before_refused * math.log1p(sent / before_sent) > _FELL_ODDS * refused
        recent_sent, recent_refused = self._last_interval[0] + sent, self._last_interval[1] + refused
        share = max((before_refused + refused) / (before_sent + sent), recent_refused / recent_sent)
        telling_load = self._reference_load * (1 - share - _CUT_MARGIN)
        has_grown = load > _MAX_GROWTH * self._lowest_load and (load > telling_load or before_sent > _MAX_REQUESTS)
        if self._start_load is None or load > self._start_load or has_grown or fell:
            self._start_load, self._reference_load, self._lowest_load = load, 0.0, 0.0
            self._counts, self._last_interval, self.useless_cuts = (0, 0), (0, 0), 0
            return None
        self._last_interval = sent, refused
        self._counts = sent, refused = before_sent + sent, before_refused + refused
        if not is_repeated and load <= min(telling_load, self._lowest_load * _HELD_GROWTH):
            self.useless_cuts += 1
        if self.useless_cuts < self._max_useless_cuts or refused > _MAX_NOISE * sent:
            return None
        return self.take_for_noise(refused, sent, self._start_load or load, next_number)

    def take_for_noise(self, refused: int, sent: int, load: float, next_number: int) -> float:
        """End the trial: so many refusals among those ``sent`` are noise. Returns ``load``, to go back to."""
        self._start_load = None
        self._set_noise(refused, sent)
        self._block = (next_number, 0)
        return load

    def _judge_noise(self, number: int, next_number: int, load: float, share: float) -> float | None:
        """Take in that ``share`` was refused, more than the noise: the cut that follows tests the noise as well."""
        sent, refused = number - self._signal_number + 1, self._refused
        self._start_interval(next_number)
        self._block = next_number, 0
        if self._test is None or refused < _SAME_SHARE * self._test[1] * sent or load > self._test[0]:
            self._test = load, share
            return None
        start_load, start_share = self._test
        self._test = start_load, max(start_share, share)
        if refused < _TEST_REFUSALS or load > start_load * (1 - self._test[1] - _CUT_MARGIN):
            return None
        self._test = None
        self._set_noise(refused, sent)
        return start_load

    def _start_interval(self, next_number: int) -> None:
        self._excess, self._refused, self._signal_number, self._excess_number = 0.0, 0, next_number, next_number

    def _set_noise(self, refused: int, sent: int) -> None:
        self.noise = min(_MAX_NOISE, max(self.noise, refused / sent))
        self._max_noise = min(_MAX_NOISE, _NOISE_MARGIN * self.noise, (refused + 2 * math.sqrt(refused)) / sent)
        self._max_noise = max(self.noise, self._max_noise)

    def restore_noise(self, noise: float) -> None:
        """Begin with the share of ``noise`` that an earlier run found; it is soon checked (``noise_check.py``)."""
        self.noise = min(_MAX_NOISE, noise)
        self._max_noise = min(_MAX_NOISE, _NOISE_MARGIN * self.noise)

    def record_cut(self, load: float) -> None:
        """Take in that the load was cut to ``load``."""
        self._reference_load = self._reference_load or load
        self._lowest_load = min(load, self._lowest_load or load)

    @property
    def signal_number(self) -> int:
        """Requests from this number on were sent after the last signal was known."""
        return self._signal_number

    def end_trial(self) -> None:
        """Forget the cuts: what is refused now has another cause."""
        self._start_load = self._test = None

    def forget_noise(self) -> None:
        """Begin anew: what was taken for noise was none."""
        self.noise = self._max_noise = self._excess = 0.0
        self.end_trial()

    def _measure_noise(self, number: int) -> None:
        """Follow the share of noise, block by block: up to a little above what it was found to be."""
        began_at, refused = self._block
        if (sent := number - began_at) >= min(_MAX_BLOCK_REQUESTS, _BLOCK_REFUSALS / self.noise):
            share = refused / sent
            self.noise = min(self._max_noise, share if self._test else (self.noise + share) / 2)
            self._test = None
            if self.noise < _NO_NOISE:
                self.noise = self._excess = 0.0
            self._block = number, 0
