"""Which Prefect API a run reports to: the configured one, the one that ``mediamill up`` started, or none.

Prefect itself is not imported to find out: importing it takes two seconds, and most runs on a laptop have no Prefect.
"""

from __future__ import annotations

import base64
import os
import tomllib
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediamill.flows.prefect_runtime.server import (
    HEALTH_TIMEOUT_SECONDS,
    get_password,
    get_prefect_home,
    is_api_up,
)
from mediamill.flows.prefect_runtime.up_state import load_up_state
from mediamill.tasks.errors import RunStopped, UsageError

if TYPE_CHECKING:
    import httpx

    from mediamill.flows.prefect_runtime.up_state import UpState

AUTH_VARIABLE = "PREFECT_API_AUTH_STRING"
"""The environment variable from which Prefect's client takes the password."""


@dataclass(frozen=True, slots=True)
class PrefectApi:
    """The address of a Prefect API, which setting gave it, and its password as ``user:password`` if it has one."""

    api: str
    named_by: str
    password: str | None = field(default=None, repr=False)

    @property
    def ui(self) -> str:
        """The address of its web interface."""
        return self.api.removesuffix("/").removesuffix("/api")

    def configure_client(self) -> None:
        """Have Prefect's client in this process, and in those that it starts, use this API; call it before the import.

        The process's environment gets the password, as it has the providers' keys.
        """
        os.environ["PREFECT_API_URL"] = self.api
        if self.password is not None:
            os.environ[AUTH_VARIABLE] = self.password

    def get(self, path: str) -> httpx.Response:
        """Get a page of the API within three seconds.

        Raises:
            httpx.HTTPError: when it does not answer.
        """
        import httpx

        headers = {}
        if self.password:
            headers["Authorization"] = f"Basic {base64.b64encode(self.password.encode()).decode()}"
        return httpx.get(f"{self.api.rstrip('/')}/{path}", headers=headers, timeout=HEALTH_TIMEOUT_SECONDS)


class PrefectDown(RunStopped):
    """The Prefect API that --prefect requires does not answer."""

    kind = "prefect"


def find_prefect() -> PrefectApi | None:
    """The Prefect API that the environment, the active profile or ``mediamill up`` gives, in this order."""
    state = load_up_state()
    up = make_up_endpoint(state) if state is not None and state.is_running() else None
    profile_name, profile = _read_active_profile()
    password = os.environ.get(AUTH_VARIABLE) or profile.get(AUTH_VARIABLE)
    for settings, named_by in ((os.environ, "PREFECT_API_URL"), (profile, f"Prefect's profile {profile_name!r}")):
        if url := settings.get("PREFECT_API_URL"):
            is_up = up is not None and _normalize(url) == _normalize(up.api)
            return PrefectApi(str(url), named_by, up.password if up is not None and is_up else password)
    return up


def make_up_endpoint(state: UpState) -> PrefectApi:
    """The API of a server that ``mediamill up`` started; this user's password is for it alone."""
    return PrefectApi(state.api, "mediamill up", get_password() if state.guarded else None)


def find_up_state(prefect: PrefectApi) -> UpState | None:
    """What is known of a server that ``mediamill up`` started; None for another one."""
    state = load_up_state()
    return (
        state if state is not None and state.is_running() and _normalize(state.api) == _normalize(prefect.api) else None
    )


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
        if not _is_password_refused(prefect):
            return prefect, f"flow run at {prefect.ui}"
        if requested:
            raise PrefectDown(
                f"Prefect at {prefect.api} ({prefect.named_by}) refuses the password, or the lack of one",
                hint=f"set {AUTH_VARIABLE} to it; a run does not need Prefect, so --prefect can be left out",
            )
        return None, f"inline run, because Prefect at {prefect.api} refuses the password ({AUTH_VARIABLE})"
    if requested:
        raise PrefectDown(
            f"Prefect at {prefect.api} ({prefect.named_by}) does not answer",
            hint="start it, or leave --prefect out: a run does not need it",
        )
    return None, f"inline run, because Prefect at {prefect.api} does not answer"


def _is_password_refused(prefect: PrefectApi) -> bool:
    """Whether the API answers 401 to the password, or to none. A key of Prefect Cloud is left to Prefect's client."""
    import httpx

    if os.environ.get("PREFECT_API_KEY") or _read_active_profile()[1].get("PREFECT_API_KEY"):
        return False
    try:
        return prefect.get("admin/version").status_code == httpx.codes.UNAUTHORIZED
    except httpx.HTTPError:
        return False


def _read_active_profile() -> tuple[str | None, dict[str, Any]]:
    """The name and the settings of the active profile, read as Prefect reads it."""
    path = Path(os.environ.get("PREFECT_PROFILES_PATH") or get_prefect_home() / "profiles.toml").expanduser()
    try:
        profiles = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError):
        return None, {}
    name = os.environ.get("PREFECT_PROFILE") or profiles.get("active")
    return name, profiles.get("profiles", {}).get(name, {})


def _normalize(api: str) -> str:
    """An address in the form in which two of the same server are equal."""
    return api.rstrip("/").replace("://localhost:", "://127.0.0.1:", 1)


def describe_version_mismatch(prefect: PrefectApi) -> str | None:
    """A line about a server whose minor version differs from this environment's; None when they are the same.

    Prefect promises that a newer server understands clients of the same major version.
    """
    import httpx

    client_version = version("prefect")
    try:
        server_version = str(prefect.get("admin/version").raise_for_status().json())
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
