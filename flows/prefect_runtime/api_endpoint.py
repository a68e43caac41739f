"""Which Prefect API a run reports to: the configured one, the one that ``mediamill up`` started, or none.

Prefect itself is not imported to find out: importing it takes two seconds, and most runs on a laptop have no Prefect.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from mediamill.flows.prefect_runtime.server import HEALTH_TIMEOUT_SECONDS, is_api_up, load_up_state
from mediamill.tasks.errors import RunStopped, UsageError


@dataclass(frozen=True, slots=True)
class PrefectApi:
    """The address of a Prefect API, and which setting gave it."""

    api: str
    named_by: str

    @property
    def ui(self) -> str:
        """The address of its web interface."""
        return self.api.removesuffix("/").removesuffix("/api")


class PrefectDown(RunStopped):
    """The Prefect API that --prefect requires does not answer."""

    kind = "prefect"


def find_prefect() -> PrefectApi | None:
    """The Prefect API that the environment, the active profile or ``mediamill up`` gives, in this order."""
    if url := os.environ.get("PREFECT_API_URL"):
        return PrefectApi(url, "PREFECT_API_URL")
    home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect").expanduser()
    if profile := _read_active_profile(home):
        return profile
    state = load_up_state()
    return PrefectApi(state.api, "mediamill up") if state is not None and state.is_running() else None


def choose_prefect(*, requested: bool | None) -> tuple[PrefectApi | None, str]:
    """The Prefect API a run reports to, or None, and the reason in a few words for the opening line.

    Args:
        requested: True for ``--prefect``, False for ``--no-prefect``, None for neither.

    Raises:
        UsageError: when it is requested and none is configured.
        PrefectDown: when it is requested and does not answer.
    """
    if requested is False:
        return None, "inline run"
    prefect = find_prefect()
    if prefect is None:
        if requested:
            raise UsageError("no Prefect API is configured", hint="start one with: mediamill up")
        return None, "inline run"
    if is_api_up(prefect.api):
        return prefect, f"flow run at {prefect.ui}"
    if requested:
        raise PrefectDown(
            f"Prefect at {prefect.api} ({prefect.named_by}) does not answer",
            hint="start it, or leave --prefect out: a run does not need it",
        )
    return None, f"inline run, because Prefect at {prefect.api} does not answer"


def _read_active_profile(home: Path) -> PrefectApi | None:
    """The API address in the active profile, read as Prefect reads it."""
    path = Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml").expanduser()
    try:
        profiles = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError):
        return None
    name = os.environ.get("PREFECT_PROFILE") or profiles.get("active")
    settings = profiles.get("profiles", {}).get(name, {})
    url = settings.get("PREFECT_API_URL")
    return PrefectApi(str(url), f"Prefect's profile {name!r}") if url else None


def describe_version_mismatch(prefect: PrefectApi) -> str | None:
    """A line about a server whose minor version differs from this environment's; None when they are the same.

    Prefect promises that a newer server understands clients of the same major version.
    """
    import httpx

    client_version = version("prefect")
    try:
        server_version = str(
            httpx.get(f"{prefect.api.rstrip('/')}/admin/version", timeout=HEALTH_TIMEOUT_SECONDS)
            .raise_for_status()
            .json()
        )
    except (httpx.HTTPError, ValueError):
        return None
    if _parse_minor_version(server_version) == _parse_minor_version(client_version):
        return None
    return (
        f"Prefect's server at {prefect.ui} is {server_version}, this environment has {client_version}: "
        "keep them at the same version"
    )


def _parse_minor_version(text: str) -> list[str]:
    return text.split(".")[:2]
