"""mediamill doctor: check this machine."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import click

from mediamill.flows.cli.console import print_json, print_line
from mediamill.flows.cli.help_layout import HelpfulCommand
from mediamill.tasks.errors import UsageError
from mediamill.tasks.system.asr_choice import choose_asr_engine

_PACKAGES = ("httpx", "aiohttp", "pyarrow", "pandas", "av", "pocketsphinx", "sqlalchemy", "prefect")
_MIN_FREE_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked. ``hint`` says what to do where it is not well."""

    what: str
    well: bool
    message: str
    hint: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The finding as ``--json`` prints it; the message keeps the key it has always had."""
        return {"what": self.what, "well": self.well, "told": self.message, "hint": self.hint}


@click.command("doctor", cls=HelpfulCommand)
@click.option("--out", default="data/results", metavar="FOLDER", help="where results would go; default data/results")
@click.option("--json", "as_json", is_flag=True, help="print a JSON list instead of text")
@click.option("--debug", is_flag=True, help="print tracebacks")
def command(*, out: str, as_json: bool, debug: bool) -> int:  # noqa: ARG001
    """Check packages, decoding, keys, disk, Prefect, built-in provider and sandbox. Exit code 0: all well, else 2."""
    checks: tuple[Callable[[], list[Finding]], ...] = (
        _check_python,
        _check_decoder,
        _check_keys,
        _check_plugins,
        lambda: _check_disk(out),
        _check_prefect,
        _check_server,
        _check_local_code,
    )
    findings = [finding for check in checks for finding in check()]
    if as_json:
        print_json([f.as_dict() for f in findings])
    else:
        for f in findings:
            print_line(f"{'ok ' if f.well else 'BAD'} {f.what}: {f.message}")
            if f.hint:
                print_line(f"      {f.hint}")
    return 0 if all(f.well for f in findings) else 2


def _check_python() -> list[Finding]:
    installed, missing = [], []
    for name in _PACKAGES:
        try:
            installed.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    return [
        Finding("python", sys.version_info >= (3, 11), platform.python_version()),
        Finding(
            "packages", not missing, ", ".join(installed), f"missing {', '.join(missing)}: uv sync" if missing else None
        ),
        Finding("sqlite", sqlite3.sqlite_version_info >= (3, 35), sqlite3.sqlite_version),
    ]


def _check_decoder() -> list[Finding]:
    import wave

    from mediamill.tasks.errors import MediamillError
    from mediamill.tasks.media.probe import read_audio_info

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tone.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes(bytes(32_000))
        try:
            message = f"reads {read_audio_info(path).seconds.normalize()} s of WAV"
        except (MediamillError, ImportError) as error:
            return [Finding("decoder", well=False, message=str(error), hint="uv sync")]
    return [Finding("decoder", well=True, message=message)]


def _check_keys() -> list[Finding]:
    from mediamill.tasks.providers.registry import choose_default_provider, iter_usable_configs

    findings = []
    for name, config in iter_usable_configs():
        if config.key_env is None:
            continue
        message = f"{config.key_env} is {'set' if os.environ.get(config.key_env) else 'not set'}"
        if config.base_url_env and os.environ.get(config.base_url_env):
            message += f", {config.base_url_env} names another server"
        findings.append(Finding(f"provider {name}", well=True, message=message))
    return [*findings, Finding("default provider", well=True, message=choose_default_provider(os.environ))]


def _check_plugins() -> list[Finding]:
    """Check what other packages add: whether it can be loaded, and whether something hides its name."""
    from mediamill.tasks.plugins import find_hidden_plugins, find_plugins, package_name, plugin_kind

    findings = []
    for group, use in _plugin_uses().items():
        kind = plugin_kind(group)
        for name, plugin in find_plugins(group).items():
            package = package_name(plugin)
            if hider := use.hiding(name):
                findings.append(_make_hidden_finding(f"{kind} {name}", package, hider))
                continue
            try:
                use.load(name)
            except UsageError as error:
                findings.append(Finding(f"{kind} {name}", well=False, message=error.message, hint=error.hint))
            else:
                findings.append(Finding(f"{kind} {name}", well=True, message=f"package {package}"))
        for plugin in find_hidden_plugins(group):
            hider = f"the {kind} of that name of the package {package_name(find_plugins(group)[plugin.name])}"
            findings.append(_make_hidden_finding(f"{kind} {plugin.name}", package_name(plugin), hider))
    return findings


class _PluginUse(NamedTuple):
    """How to load what another package adds to a group, and what of ours hides a name of that group, if anything."""

    load: Callable[[str], object]
    hiding: Callable[[str], str | None]


def _plugin_uses() -> dict[str, _PluginUse]:
    from mediamill.flows.cli.main import COMMANDS
    from mediamill.tasks import capabilities
    from mediamill.tasks.plugins import CAPABILITY_GROUP, OPERATION_GROUP, PROVIDER_GROUP
    from mediamill.tasks.providers import operations, registry

    def capability_hidden(name: str) -> str | None:
        if name in capabilities.BUILT_IN:
            return "the built-in capability of that name"
        return f"the command `mediamill {name}`; only a job file can name it" if name in COMMANDS else None

    def operation_hidden(name: str) -> str | None:
        return "the built-in operation of that name" if operations.is_built_in_operation(name) else None

    def provider_hidden(name: str) -> str | None:
        return "the built-in provider of that name" if registry.is_built_in_provider(name) else None

    return {
        CAPABILITY_GROUP: _PluginUse(capabilities.get, capability_hidden),
        OPERATION_GROUP: _PluginUse(operations.load_operation_class, operation_hidden),
        PROVIDER_GROUP: _PluginUse(registry.load_config, provider_hidden),
    }


def _make_hidden_finding(what: str, package: str, hider: str) -> Finding:
    hint = f"rename it in {package}, or uninstall {package}"
    return Finding(what, well=False, message=f"of the package {package}, is hidden by {hider}", hint=hint)


def _check_disk(out: str) -> list[Finding]:
    folder = Path(out).expanduser().absolute()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"x")
        writable = True
    except OSError:
        writable = False
    hint = None if writable else "choose another --out"
    if writable and free < _MIN_FREE_BYTES:
        hint = "free disk space before a long run"
    message = f"{existing} has {free / 2**30:.0f} GB free{'' if writable else ' and cannot be written'}"
    return [Finding("disk", writable and free >= _MIN_FREE_BYTES, message, hint)]


def _check_prefect() -> list[Finding]:
    """Check which Prefect runs report to, and that the local one keeps other users and web pages out."""
    from mediamill.flows.prefect_runtime.api_endpoint import choose_prefect
    from mediamill.flows.prefect_runtime.up_state import load_up_state

    findings = [Finding("prefect", well=True, message=choose_prefect(requested=None)[1])]
    state = load_up_state()
    if state is not None and state.is_running() and not state.guarded:
        message = f"{state.api} has no password, so any web page can give it commands"
        findings.append(Finding("prefect", well=False, message=message, hint="mediamill down, then mediamill up"))
    return findings


def _check_server() -> list[Finding]:
    import secrets

    from mediamill.tasks.errors import MediamillError
    from mediamill.tasks.local.spawn import spawn

    try:
        with spawn("local", token=secrets.token_urlsafe(32)) as server:
            message = f"{server.engine} answers at {server.origin}"
            return [Finding("built-in provider", well=True, message=message, hint=choose_asr_engine().reason)]
    except MediamillError as error:
        return [Finding("built-in provider", well=False, message=error.message, hint=error.hint)]


def _check_local_code() -> list[Finding]:
    """Check whether code can be locked up here. A machine that cannot is well: it refuses what few runs want."""
    import secrets

    from mediamill.tasks.errors import MediamillError
    from mediamill.tasks.local.spawn import spawn

    try:
        with spawn("python", token=secrets.token_urlsafe(32), allow_local_code=True):
            return [Finding("local code", well=True, message="runs with --allow-local-code, in a sandbox that holds")]
    except MediamillError as error:
        is_refusal = error.message.startswith("code is not run on this machine")
        return [Finding("local code", well=is_refusal, message=error.message, hint=error.hint)]
