"""WHAT is done to an item, one file each. A new capability is its file and one line here.

Its command, options, help, flow and form are made from it. A capability of another package is found by its entry
point in the group ``mediamill.capabilities``, whose name is the capability's and which loads to its class::

    [project.entry-points."mediamill.capabilities"]
    count-words = "my_package.count_words:CountWords"
"""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

from mediamill.tasks.errors import NoSuchOption, UsageError
from mediamill.tasks.plugins import CAPABILITIES, load_plugin, package_of, unusable
from mediamill.tasks.plugins import plugins as installed

if TYPE_CHECKING:
    from mediamill.tasks.capabilities.base import Capability

_PACKAGE = "mediamill.tasks.capabilities"
BUILT_IN = {
    "transcribe": (f"{_PACKAGE}.transcribe:Transcribe", "Recordings to transcripts with segments and words."),
    "translate": (f"{_PACKAGE}.translate:Translate", "Recordings to text in English or another language."),
    "speak": (f"{_PACKAGE}.speak:Speak", "Texts to audio files, long ones cut at sentences and joined."),
    "caption": (f"{_PACKAGE}.caption:Caption", "Pictures to captions, tags, or any answer about them."),
    "describe-video": (f"{_PACKAGE}.describe_video:DescribeVideo", "Videos to descriptions, or any answer about them."),
    "complete": (f"{_PACKAGE}.complete:Complete", "Prompts to answers, held to a schema where one is given."),
    "generate-video": (f"{_PACKAGE}.generate_video:GenerateVideo", "Prompts to videos, never paid twice."),
    "rerank": (f"{_PACKAGE}.rerank:Rerank", "Documents in the order of how well they answer a query."),
    "embed": (f"{_PACKAGE}.embed:Embed", "Texts to vectors."),
    "generate-image": (f"{_PACKAGE}.generate_image:GenerateImage", "Prompts to pictures."),
    "execute": (f"{_PACKAGE}.execute:Execute", "Cells of code to what they print, return and draw."),
}
"""Name: where the class is, and what the list of commands says; so nothing is imported to show that list."""

_registered: dict[str, tuple[str, str]] = {}
_REQUIRED_MEMBERS = ("name", "operation", "kinds", "params", "request_version", "schema", "run", "estimate")


def names() -> tuple[str, ...]:
    """Every capability's name: the built-in ones, then those of other packages."""
    return tuple(dict.fromkeys([*BUILT_IN, *_registered, *find_plugins()]))


def register(name: str, target: str, summary: str = "") -> None:
    """Make a capability known in this process; one in an installed package has an entry point instead.

    Args:
        name: as jobs name it.
        target: ``module:Class`` of its :class:`~mediamill.tasks.capabilities.base.Capability`.
        summary: what the list of commands says of it.

    Raises:
        ValueError: when another has the name already.
    """
    if name in BUILT_IN or _registered.setdefault(name, (target, summary))[0] != target:
        raise ValueError(f"there is a capability {name!r} already")


def is_known(name: str) -> bool:
    """Whether there is a capability of that name. Other packages are only looked at where it is not built in."""
    return name in BUILT_IN or name in _registered or name in find_plugins()


def summary(name: str) -> str:
    """A capability in one line, told without importing it; of another package's, which package that is."""
    known = BUILT_IN.get(name) or _registered.get(name)
    if known is not None:
        return known[1]
    return f"From the package {package_of(find_plugins()[name])}."


def get(name: str) -> Capability:
    """A new object of the capability of that name. It serves one run: some keep what their items share.

    Raises:
        NoSuchOption: when there is none.
        UsageError: when another package's cannot be used; it names the package.
    """
    known = BUILT_IN.get(name) or _registered.get(name)
    if known is not None:
        module, _, cls = known[0].partition(":")
        built: Capability = getattr(importlib.import_module(module), cls)()
        return built
    plugin = find_plugins().get(name)
    if plugin is None:
        raise NoSuchOption("capability", name, names())
    return _load_plugin_capability(plugin)


def iter_usable() -> Iterator[Capability]:
    """A new object of every capability; other packages' that cannot be used are passed over."""
    for name in names():
        with contextlib.suppress(UsageError):
            yield get(name)


def find_plugins() -> dict[str, EntryPoint]:
    """The capabilities of installed packages, by name, none of them imported. A built-in one hides its namesake."""
    return {name: point for name, point in installed(CAPABILITIES).items() if name not in BUILT_IN}


def _load_plugin_capability(plugin: EntryPoint) -> Capability:
    """Another package's capability; whatever is wrong with it is told in one line.

    Raises:
        UsageError: when it cannot be imported or made, or is no capability of that name.
    """
    from pydantic import BaseModel

    cls = load_plugin(plugin)
    try:
        capability: Capability = cls()
    except (Exception, SystemExit) as error:  # it is not our code: anything may be wrong with it
        raise unusable(plugin, f"{type(error).__name__}: {error}".partition("\n")[0]) from error
    missing = [member for member in _REQUIRED_MEMBERS if not hasattr(capability, member)]
    if missing:
        raise unusable(plugin, f"{plugin.value} has no {', '.join(missing)}")
    if not (isinstance(capability.params, type) and issubclass(capability.params, BaseModel)):
        raise unusable(plugin, f"params of {plugin.value} is no pydantic model")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", plugin.name):
        raise unusable(plugin, "a capability is called by small letters, digits and hyphens between them")
    if capability.name != plugin.name:
        raise unusable(plugin, f"{plugin.value} calls itself {capability.name!r}")
    return capability
