"""WHAT is done to an item, one file for each capability. A new capability is its file and one line here.

Its command, options, help, flow and form are made from it. A capability of another package is found by its entry
point in the group ``mediamill.capabilities``; the entry point has the capability's name and loads its class::

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
from mediamill.tasks.plugins import CAPABILITY_GROUP, format_cause, load_plugin, package_name, plugin_error
from mediamill.tasks.plugins import find_plugins as installed

if TYPE_CHECKING:
    from mediamill.tasks.capabilities.base import Capability

_PACKAGE = "mediamill.tasks.capabilities"
BUILT_IN = {
    "transcribe": (f"{_PACKAGE}.transcribe:Transcribe", "Recordings to transcripts with segments and words."),
    "translate": (f"{_PACKAGE}.translate:Translate", "Recordings to text in English or another language."),
    "speak": (f"{_PACKAGE}.speak:Speak", "Texts to audio files; long texts are cut at sentences and joined."),
    "caption": (f"{_PACKAGE}.caption:Caption", "Images to captions, tags, or any answer about them."),
    "ocr": (f"{_PACKAGE}.ocr:Ocr", "Images to the text in them, with boxes and confidences."),
    "describe-video": (f"{_PACKAGE}.describe_video:DescribeVideo", "Videos to descriptions, or any answer about them."),
    "complete": (f"{_PACKAGE}.complete:Complete", "Prompts to answers, checked against a schema where one is given."),
    "generate-video": (f"{_PACKAGE}.generate_video:GenerateVideo", "Prompts to videos, never paid twice."),
    "rerank": (f"{_PACKAGE}.rerank:Rerank", "Documents ordered by how well they answer a query."),
    "embed": (f"{_PACKAGE}.embed:Embed", "Texts to vectors."),
    "generate-image": (f"{_PACKAGE}.generate_image:GenerateImage", "Prompts to images."),
    "execute": (f"{_PACKAGE}.execute:Execute", "Cells of code to what they print, return and plot."),
}
"""Name to the class's location and the summary for the list of commands, which is shown without importing anything."""

_REQUIRED_MEMBERS = ("name", "operation", "kinds", "params", "request_version", "schema", "run", "estimate")


def list_names() -> tuple[str, ...]:
    """Names of all capabilities: the built-in ones, then those of other packages."""
    return tuple(dict.fromkeys([*BUILT_IN, *find_capability_plugins()]))


def is_known(name: str) -> bool:
    """True when there is a capability of that name. Other packages are only searched when it is not built in."""
    return name in BUILT_IN or name in find_capability_plugins()


def get_summary(name: str) -> str:
    """A capability in one line, without importing it; for another package's capability, the name of that package."""
    known = BUILT_IN.get(name)
    if known is not None:
        return known[1]
    return f"From the package {package_name(find_capability_plugins()[name])}."


def get(name: str) -> Capability:
    """A new object of the capability of that name. It serves one run: some capabilities keep what their items share.

    Raises:
        NoSuchOption: when there is none.
        UsageError: when another package's capability cannot be used; it names the package.
    """
    known = BUILT_IN.get(name)
    if known is not None:
        module, _, cls = known[0].partition(":")
        built: Capability = getattr(importlib.import_module(module), cls)()
        return built
    plugin = find_capability_plugins().get(name)
    if plugin is None:
        raise NoSuchOption("capability", name, list_names())
    return _load_plugin_capability(plugin)


def iter_usable() -> Iterator[Capability]:
    """A new object of every capability; those of other packages that cannot be used are skipped."""
    for name in list_names():
        with contextlib.suppress(UsageError):
            yield get(name)


def find_capability_plugins() -> dict[str, EntryPoint]:
    """Capabilities of installed packages by name, not imported. A built-in capability hides one of the same name."""
    return {name: point for name, point in installed(CAPABILITY_GROUP).items() if name not in BUILT_IN}


def _load_plugin_capability(plugin: EntryPoint) -> Capability:
    """Load another package's capability.

    Raises:
        UsageError: when it cannot be imported or created, or is not a capability of that name; in one line.
    """
    from pydantic import BaseModel

    cls = load_plugin(plugin)
    try:
        capability: Capability = cls()
    except (Exception, SystemExit) as error:  # it is not our code: anything may be wrong with it
        raise plugin_error(plugin, format_cause(error)) from error
    missing = [member for member in _REQUIRED_MEMBERS if not hasattr(capability, member)]
    if missing:
        raise plugin_error(plugin, f"{plugin.value} has no {', '.join(missing)}")
    if not (isinstance(capability.params, type) and issubclass(capability.params, BaseModel)):
        raise plugin_error(plugin, f"params of {plugin.value} is no pydantic model")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", plugin.name):
        raise plugin_error(plugin, "a capability's name has lowercase letters, digits, and hyphens between them")
    if capability.name != plugin.name:
        raise plugin_error(plugin, f"{plugin.value} calls itself {capability.name!r}")
    return capability
