"""Commands that take a job file or a recipe: `run`, `quote` and `deploy`, each with the same options and errors."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import click

from mediamill.flows.cli.help_layout import HelpfulCommand
from mediamill.flows.cli.job_files import check_contents
from mediamill.flows.cli.options import PERMITTED, to_flag, to_job_fields
from mediamill.tasks.errors import UsageError
from mediamill.tasks.job import Job
from mediamill.tasks.job_loading import load_job
from mediamill.tasks.pipeline.mistakes import JobFile
from mediamill.tasks.pipeline.spec import Chain, Task, is_chain, load_yaml_or_none, make_chain
from mediamill.tasks.starters.recipes import PREFIX, check_source, find_job_file


class CommandWithPermissions(HelpfulCommand):
    """A command that also takes permission options; every capability is searched for them only where one is given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments."""
        known = {flag for param in self.get_params(ctx) for flag in (*param.opts, *param.secondary_opts)}
        if any(arg.startswith("--") and arg.partition("=")[0] not in known for arg in args):
            from mediamill.flows.cli.capability_command import make_permission_options

            self.params[1:1] = [option for option in make_permission_options() if not known & {*option.opts}]
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            _refuse_param_option(error.option_name)
            raise


def _refuse_param_option(flag: str) -> None:
    """Refuse the option of a capability's parameter with the one that takes its place in a command for all of them.

    Raises:
        UsageError: where a capability has such an option.
    """
    from mediamill.flows.cli.capability_command import make_param_options
    from mediamill.tasks import capabilities

    names = {
        capability.name: name
        for capability in capabilities.iter_usable()
        for name, option in make_param_options(capability).items()
        if flag in (*option.opts, *option.secondary_opts)
    }
    if names:
        name = next(iter(names.values()))
        raise UsageError(
            f"{flag} is an option of capabilities' own commands: {', '.join(names)}",
            hint=f"write --set {name}=VALUE here, or mediamill {next(iter(names))} SOURCE {flag} VALUE --quote",
        )


def load_job_file(
    name: str, source: str | None, options: Mapping[str, Any], **overrides: Any
) -> tuple[Job | Chain, JobFile]:
    """Load the job or the chain of a file, overridden by what was given; and the file, for later errors.

    Args:
        name: a path, or ``recipe:NAME``.
        source: the one that was given.
        options: of the command; those that cannot hold for all steps of a chain are refused.
        **overrides: fields that are no options.

    Raises:
        UsageError: with the line of a mistake.
        JobFileError: with those of several.
    """
    permitted: list[str] = click.get_current_context().meta.get(PERMITTED, [])
    file = JobFile(find_job_file(name), name)
    contents = load_yaml_or_none(file.path)
    fields = {**to_job_fields(options), **overrides}
    check_contents(file, contents, fields, source)
    if is_chain(contents):
        check_source(name, source or str(contents.get("source")))
        _refuse_step_options(name, fields)
        of_chain = {field: value for field, value in fields.items() if value not in (None, {}, [])}
        return make_chain(_grant_permissions(contents, permitted), name, source=source, **of_chain), file
    fields["params"] = {**fields["params"], **dict.fromkeys(permitted, True)}
    job = load_job(file.path, source=source, **fields)
    check_source(name, source or job.source)
    return job, file


def _refuse_step_options(name: str, fields: Mapping[str, Any]) -> None:
    """Refuse options that a chain lacks, with where they are written instead.

    Raises:
        UsageError: naming the first.
    """
    for field, value in fields.items():
        if value in (None, {}, []) or field in Chain.model_fields:
            continue
        option = "--set" if field == "params" else to_flag(field)
        if field not in Task.model_fields:
            raise UsageError(f"{option} is no option of a chain, nor of its steps", hint="leave it out")
        where = f"write it into the step in {name}"
        if name.startswith(PREFIX):
            recipe = name.removeprefix(PREFIX)
            where = (
                f"mediamill recipes {recipe} > my-{recipe}.yaml makes a file of your own: write it into the step there"
            )
        raise UsageError(f"{option} belongs to a single step", hint=where)


def _grant_permissions(contents: dict[str, Any], granted: Collection[str]) -> dict[str, Any]:
    """Add the permissions granted on the command line to the chain's tasks whose capability has them."""
    from mediamill.flows.cli.capability_command import list_permissions
    from mediamill.tasks import capabilities

    steps = contents.get("steps") if granted else None
    for step in steps if isinstance(steps, list) else ():
        branches = step.get("parallel") if isinstance(step, dict) else None
        tasks = [step.get("task"), *(branches.values() if isinstance(branches, dict) else ())]
        for task in tasks:
            if isinstance(task, dict) and capabilities.is_known(str(task.get("capability"))):
                names = [name for name in list_permissions(capabilities.get(task["capability"])) if name in granted]
                if names:
                    task["params"] = {**(task.get("params") or {}), **dict.fromkeys(names, True)}
    return contents
