"""The help of a command: what it does, examples, and its options by what they are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import click

from mediamill.flows.cli.examples import EXAMPLES

_GROUPS: Mapping[str, str] = {
    "Source": "path_column text_column id_column group_by group infer_types limit settle allow_hosts "
    "allow_paths skip_existing",
    "Provider": "provider model base_url api_key_env",
    "More tries": "check check_model until escalate",
    "Cost": "budget yes quote_only endpoint_hourly no_cache",
    "Results": "out subtitles beside overwrite replace moved copied journal shard_size",
    "Pace and time": "concurrency processes rpm retries timeout run_deadline wait_for_provider max_failures_in_a_row "
    "max_memory",
    "Job": "config settings schema_only deployed",
    "Screen and log": "quiet as_json verbose log_json debug prefect help",
}
"""The names of options that several commands have, by heading; any other is the command's own."""

_MAX_OPTIONS_WITHOUT_GROUPS = 12


class HelpfulCommand(click.Command):
    """A command whose help has examples, and its options by groups where there are many; its own ones come first.

    Args:
        own_heading: of the options that are in no group.
        groups: more groups: the names of their options by heading.
    """

    def __init__(
        self, *args: Any, own_heading: str = "Options", groups: Mapping[str, str] = MappingProxyType({}), **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._own_heading = own_heading
        self._groups = {**groups, **_GROUPS}

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what the command does, and examples."""
        super().format_help_text(ctx, formatter)
        if examples := EXAMPLES.get(self.name or ""):
            with formatter.section("Examples"):
                for line, meaning in examples:
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")
                    formatter.write(f"{'':{formatter.current_indent + 4}}{meaning}\n")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, a section for each group."""
        for heading, options in self.group_options(self.get_params(ctx)).items():
            with formatter.section(heading):
                formatter.write_dl([record for option in options if (record := option.get_help_record(ctx))])

    def group_options(self, params: Sequence[click.Parameter]) -> dict[str, list[click.Option]]:
        """The options that the help shows, by heading."""
        shown = [param for param in params if isinstance(param, click.Option) and not param.hidden]
        if len(shown) <= _MAX_OPTIONS_WITHOUT_GROUPS:
            return {"Options": shown}
        headings = {name: heading for heading, names in reversed(self._groups.items()) for name in names.split()}
        groups: dict[str, list[click.Option]] = {heading: [] for heading in (self._own_heading, *self._groups)}
        for option in shown:
            name = "help" if "--help" in option.opts else option.name or ""
            groups[headings.get(name, self._own_heading)].append(option)
        return {heading: options for heading, options in groups.items() if options}
