"""What a provider that hangs costs, in virtual time: ``python -m tests.bench.hanging``.

64 requests in flight, answers after 0.5 s (log-normal, sigma 0.4), requests end after 300 s. Each line has the time
until all are answered and the requests that were abandoned, without the hang detector and with it.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable

from tests.calls.simulated_provider import HOUR, SimulatedProvider, lognormal, with_hole
from tests.calls.virtual_time import run_virtual

_REQUESTS, _IN_FLIGHT = 5_000, 64


def make_hanging(share: float) -> Callable[[float], float]:
    """Answers, a share of which never come."""
    rng, take = random.Random(4), lognormal(0.5, 0.4)
    return lambda at: HOUR if at > 5.0 and rng.random() < share else take(at)


def make_long_tail(share: float) -> Callable[[float], float]:
    """Answers after 4 s, with a long tail, and a share of them after ten times that."""
    rng, take = random.Random(3), lognormal(4.0, 0.7)
    return lambda at: take(at) * (10 if rng.random() < share else 1)


def make_slower(seconds: float) -> Callable[[float], float]:
    """Answers that take ``seconds`` after the first 20 s."""
    fast, slow = lognormal(0.5, 0.4), lognormal(seconds, 0.2, seed=6)
    return lambda at: fast(at) if at < 20.0 else slow(at)


CASES: dict[str, Callable[[], Callable[[float], float]]] = {
    "all is well": lambda: lognormal(0.5, 0.4),
    "nothing is answered for 60 s": lambda: with_hole(lognormal(0.5, 0.4), 15.0, 75.0),
    **{
        f"{share:.0%} never answered": lambda share=share: make_hanging(share)  # type: ignore[misc]
        for share in (0.02, 0.05, 0.1, 0.2)
    },
    **{
        f"4 s, sigma 0.7, {share:.1%} ten times as slow": lambda share=share: make_long_tail(share)  # type: ignore[misc]
        for share in (0.0, 0.005, 0.01, 0.02, 0.05)
    },
    **{
        f"{seconds:.0f} s an answer after 20 s": lambda seconds=seconds: make_slower(seconds)  # type: ignore[misc]
        for seconds in (4.0, 12.0, 30.0)
    },
}


def measure(take: Callable[[float], float], *, is_watched: bool) -> tuple[float, int]:
    """Seconds until all are answered, and how many requests were abandoned."""
    provider = SimulatedProvider(take, is_watched=is_watched)
    run_virtual(lambda: provider.call_all(_REQUESTS, _IN_FLIGHT))
    return max(at for _, at in provider.answered), provider.abandoned


def main() -> None:
    """Print a table."""
    sys.stdout.write("| provider | without | with | abandoned |\n|---|---|---|---|\n")
    for name, make in CASES.items():
        without, _ = measure(make(), is_watched=False)
        seconds, abandoned = measure(make(), is_watched=True)
        sys.stdout.write(f"| {name} | {without:.0f} s | {seconds:.0f} s | {abandoned / _REQUESTS:.2%} |\n")


if __name__ == "__main__":
    main()
