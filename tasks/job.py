"""Job: the validated description of a run, the same from the command line, YAML and Python."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from mediamill.tasks.errors import UsageError
from mediamill.tasks.escalation import MAX_ESCALATIONS, Escalation
from mediamill.tasks.notification import ENV_NAME, Notifications
from mediamill.tasks.renamed_options import JOB_OPTIONS, RenamedFields
from mediamill.tasks.schedule import Schedule
from mediamill.tasks.untrusted_text import check_is_utf8

DEFAULT_SETTLE_SECONDS = 60.0
_DURATION_PART = re.compile(r"(?P<n>\d+(?:\.\d+)?)(?P<unit>ms|s|m|h|d)?")
_NO_TIME = frozenset({"0", "0s", "0m", "0h"})
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, None: 1.0}


def parse_duration(text: str | float) -> float:
    """Seconds from ``90``, ``"90s"``, ``"1.5h"``, ``"300ms"`` or ``"1h30m"``.

    Raises:
        ValueError: when the text is not a duration or is not positive.
    """
    if isinstance(text, (int, float)):
        seconds = float(text)
    else:
        parts = list(_DURATION_PART.finditer(text.strip()))
        if not parts or "".join(p.group(0) for p in parts) != text.strip():
            raise ValueError(f"{text!r} is not a duration; write 90s, 15m, 1h30m")
        seconds = sum(float(p["n"]) * _UNIT_SECONDS[p["unit"]] for p in parts)
    if not 0 < seconds < float("inf"):
        raise ValueError("a duration is longer than zero")
    return seconds


def _parse_if_text(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else value


def _keep_money_exact(value: Any) -> Any:
    """A number of YAML as its digits: 0.1 is ten cents, not the nearest binary fraction."""
    return str(value) if isinstance(value, float) else value


def _load_default_settle() -> float:
    """The settle time that MEDIAMILL_SETTLE gives, for programs that write files and run them at once; else 60 s."""
    text = os.environ.get("MEDIAMILL_SETTLE") or str(DEFAULT_SETTLE_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise UsageError(f"MEDIAMILL_SETTLE: {text!r} is no number of seconds", hint="write it like 60 or 0")
    return seconds


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeSeconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
AllowedPaths: TypeAlias = bool | list[str]
"""Whether rows may name any file; or the folders below which they may, beside their manifest's own."""
Usd = Annotated[Decimal, Field(ge=0), BeforeValidator(_keep_money_exact)]


class Columns(BaseModel):
    """How a manifest's columns are read. Unset ones are found by their usual names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str | None = Field(None, description="column with a unique id for each row")
    path: str | None = Field(None, description="column with a path or URL")
    text: str | None = Field(None, description="column with the text, for capabilities that take texts")
    version: str | None = Field(None, description="column that changes when a URL's content does")
    params: dict[str, str] | None = Field(
        None, description="which column holds which parameter of a row; by default those of the same name"
    )
    group: str | None = Field(None, description="column whose equal neighbours form one item, e.g. of several images")
    types: dict[str, str] = Field(default_factory=dict, description="Arrow types of carried columns, e.g. int64")
    infer_types: bool = Field(
        default=False,
        description="give each carried column of a .csv or .tsv the type (int64, float64, bool, date32) from which "
        "every cell comes back exactly; others stay text",
    )


_EMPTY_IS_NONE_GIVEN = BeforeValidator(lambda value: {} if value is None else value)
"""A key of a YAML file below which every line is a comment holds null."""
Parameters: TypeAlias = Annotated[dict[str, Any], _EMPTY_IS_NONE_GIVEN]
"""A capability's own parameters, by name."""


class Job(RenamedFields):
    """What to do: source, capability, provider, model, parameters, limits, budget, output."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    renamed: ClassVar[Mapping[str, str]] = JOB_OPTIONS

    capability: str = Field(description="what is done to each item, e.g. transcribe")
    source: str = Field(description="folder, glob, file, URL, manifest (.csv .tsv .jsonl .parquet) or - for stdin")
    provider: str | None = Field(None, description="the provider; default: the first one whose key is set, else local")
    model: str | None = Field(None, description="the provider's model name; default from configs/providers")
    base_url: str | None = Field(
        None, description="address of another server with the provider's API, with or without /v1"
    )
    api_key_env: str | None = Field(
        None, description="NAME of the environment variable that holds the key; default: the provider's own"
    )
    params: Parameters = Field(default_factory=dict, description="the capability's own parameters")
    check: bool | None = Field(
        None,
        description="try an item once more, with other settings, where its transcript has flags that this may mend; "
        "the first stays unless the second is clearly better; off by default",
    )
    check_model: str | None = Field(
        None, description="with check: the provider's model for the second try; default: the same model, set otherwise"
    )
    until: str | None = Field(
        None,
        description="with escalate: condition on an item's row, an expression; the next one is tried while it is "
        "false; default for transcripts: no flag that another try may mend",
    )
    escalate: tuple[Escalation, ...] | None = Field(
        None,
        max_length=MAX_ESCALATIONS,
        description="who tries an item next while until is false: NAME or NAME:MODEL of a provider; may be repeated, "
        "in order; in a job file a list, also with params, base_url, api_key_env, concurrency and rpm; default: nobody",
    )
    columns: Annotated[Columns, _EMPTY_IS_NONE_GIVEN] = Field(
        default_factory=Columns, description="how a manifest's columns are read"
    )
    out: str | None = Field(None, description="folder for the results; default data/results/CAPABILITY-NAME-HASH")
    journal: str | None = Field(
        None, description="shared journal, a path or postgresql://...; default: one in OUT/.journal"
    )
    limit: Annotated[int, Field(gt=0)] | None = Field(None, description="only the first N items; default: all")
    budget: Usd | None = Field(None, description="maximum cost of OUT in US dollars, over all its runs; default: none")
    confirmed: bool = Field(
        default=False, description="a paid job may start without a budget where nobody is asked: what --yes says"
    )
    endpoint_hourly: Usd | None = Field(
        None, description="hourly price of a dedicated endpoint in US dollars; reported as a cost of its own"
    )
    concurrency: Annotated[int, Field(gt=0, le=4096)] | None = Field(
        None, description="maximum requests in flight; default: the provider's limit"
    )
    processes: Annotated[int, Field(gt=0, le=64)] = Field(
        1,
        description="worker processes on this machine, which share the requests in flight, the limits and the budget; "
        "more than one where one core is too slow for the rate; default 1",
    )
    rpm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="maximum requests per minute; default: the provider's limit"
    )
    timeout: Seconds | None = Field(
        None,
        description="maximum time of one attempt, e.g. 90s; sooner if it hangs; default: the operation's own",
    )
    run_deadline: Seconds | None = Field(
        None, description="maximum time of the run, e.g. 6h; what is left can be resumed; default: none"
    )
    wait_for_provider: NonNegativeSeconds | None = Field(
        None,
        description="how long to wait for a provider that stops answering, e.g. 1h, or 0; default 10m, or 20s where "
        "nothing has answered at its address yet",
    )
    max_failures_in_a_row: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="stop once so many requests in a row failed as those to a bad provider do (redirect, bad request, "
        "empty answer), and fail no item for it; 0 for never; default 20, more where many fail at random",
    )
    retries: Annotated[int, Field(ge=0, le=20)] = Field(5, description="maximum retries of one request; default 5")
    shard_size: Annotated[int, Field(gt=0, le=100_000)] = Field(
        500, description="items in one Parquet part; default 500"
    )
    max_memory: Annotated[int, Field(gt=0)] = Field(
        512 * 2**20, description="maximum media held in memory at once, in bytes; default 536870912 (512 MiB)"
    )
    replace: bool = Field(
        default=False, description="let this OUT change provider, model or parameters; every item is done again"
    )
    moved: bool = Field(
        default=False,
        description="the source, OUT or its journal was moved: go on with what is there, and buy nothing again",
    )
    copied: bool = Field(
        default=False, description="OUT is a copy of another: make it an OUT of its own, which has paid nothing yet"
    )
    no_cache: bool = Field(default=False, description="buy every answer again instead of reusing those in the journal")
    group: Annotated[int, Field(gt=1, le=1000)] | None = Field(
        None, description="number of neighbours in the source that form one item, e.g. 2 for before and after"
    )
    allow_hosts: list[str] = Field(
        default_factory=list, description="private hosts that source URLs may name, e.g. media.lan:8080"
    )
    allow_paths: AllowedPaths = Field(
        default=False,
        description="let rows name files anywhere on this machine; in a job file true, or a list of folders; "
        "default: only below the manifest's folder",
    )
    settle: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default_factory=_load_default_settle,
        description="seconds for which a file of a folder must be unchanged to be taken, as it may still be written; "
        "others wait for the next run; 0 takes all; default 60, or MEDIAMILL_SETTLE",
    )
    subtitles: list[Literal["srt", "vtt", "txt", "json"]] = Field(
        default_factory=list,
        description="subtitles as OUT/media/NAME.srt and so on: srt, vtt, txt, json; default: those that OUT has",
    )
    beside: bool = Field(
        default=False,
        description="write the text beside each source file, too: NAME.srt beside a video, NAME.txt beside a recording "
        "or an image, or the formats that subtitles names, now or in OUT's earlier runs; never over a file of others",
    )
    overwrite: bool = Field(
        default=False, description="with beside: write over files that this OUT did not write, or that were changed"
    )
    skip_existing: bool = Field(
        default=False, description="pass over items whose source has the file that beside would write, whoever wrote it"
    )
    notify: Notifications = Field(
        default_factory=list,
        description="who is told how a run ended: NAME of an environment variable with Apprise URLs, or a list of "
        "{env: NAME} and {block: TYPE/NAME}, each with `when`; default: nobody",
    )
    schedule: Schedule | None = Field(None, description="when its deployment runs (`mediamill deploy`)")

    @field_validator("wait_for_provider", mode="before", json_schema_input_type=float | str | None)
    @classmethod
    def _parse_wait(cls, value: Any) -> Any:
        return 0.0 if isinstance(value, str) and value.strip() in _NO_TIME else _parse_if_text(value)

    @field_validator("timeout", "run_deadline", mode="before", json_schema_input_type=float | str | None)
    @classmethod
    def _parse_durations(cls, value: Any) -> Any:
        return _parse_if_text(value)

    @field_validator("escalate", mode="before", json_schema_input_type=list[Escalation | str] | str)
    @classmethod
    def _list_escalations(cls, value: Any) -> Any:
        return [value] if isinstance(value, str | dict) else value

    @field_validator("subtitles", mode="before", json_schema_input_type=list[str] | str)
    @classmethod
    def _split_formats(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("api_key_env")
    @classmethod
    def _validate_key_env(cls, value: str | None) -> str | None:
        if value is not None and not ENV_NAME.fullmatch(value):
            raise ValueError("give the NAME of an environment variable, never the key itself")
        return value

    _check_names = field_validator("source", "out", "journal")(check_is_utf8)

    @field_validator("journal")
    @classmethod
    def _validate_journal(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not value.strip():
            raise ValueError("is empty; name a folder or postgresql://..., or leave it out")
        if "://" not in value:
            return str(Path(value).expanduser().absolute())
        parts = urlsplit(value)
        if parts.password or {"password", "sslpassword"} & {name for name, _ in parse_qsl(parts.query)}:
            raise ValueError("keep the password out of the URL; set PGPASSWORD or use a .pgpass file")
        return value

    @field_validator("allow_paths")
    @classmethod
    def _make_folders_absolute(cls, value: AllowedPaths) -> AllowedPaths:
        return value if isinstance(value, bool) else [str(Path(folder).expanduser().absolute()) for folder in value]

    def describe_tries(self) -> dict[str, Any]:
        """What the job says of more tries of an item, as far as it decides rows; empty for one try."""
        said = self.model_dump(mode="json", include={"check", "check_model", "until"}, exclude_defaults=True)
        escalations = [each.describe_made_with() for each in self.escalate or ()]
        return {**said, **({"escalate": escalations} if self.escalate is not None else {})}

    @property
    def out_path(self) -> str:
        """Where results go: ``out``, or a name built from the capability, the source and the hash of its path."""
        if self.out:
            return self.out
        root = self.source if "://" in self.source else str(Path(self.source).expanduser().absolute())
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(self.source).name).strip("-.") or "items"
        digest = hashlib.sha256(root.encode()).hexdigest()[:8]
        return str(Path("data/results") / f"{self.capability}-{name}-{digest}")


def drop_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that say something: without false, null and empty ones."""
    return {name: value for name, value in values.items() if value}
