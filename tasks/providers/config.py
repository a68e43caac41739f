"""Provider configuration: configs/providers/NAME.yaml, checked strictly. Model names stand there and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from pydantic import Field, InstanceOf, ValidationError, field_validator

from mediamill.tasks.errors import UsageError
from mediamill.tasks.providers.operations import is_operation, load_operation_class
from mediamill.tasks.providers.operations.base import OperationConfig, StrictModel
from mediamill.tasks.providers.provider_info import ErrorQuirk, RateLimitDialect
from mediamill.tasks.wire import Billing, Endpoint

_FIX_HINT = "correct the provider's configuration"
_PORTS = {"http": 80, "https": 443}


class ProviderConfig(StrictModel):
    """A provider: its address, the name of its key, its billing rules and its operations.

    The block of an operation is read into the model class of that operation.
    """

    adapter: str | None = Field(
        default=None, description="module:Class of the provider, if it differs in more than the fields here"
    )
    preference: int = Field(
        default=1000, description="of the providers whose key is set, the one with the lowest value is the default"
    )
    base_url: str | None = None
    base_url_env: str | None = None
    key_env: str | None = None
    key_url: str | None = Field(default=None, description="page on which the provider gives out keys")
    key_optional: bool = False
    free: bool = False
    least_seconds: Decimal = Decimal(0)
    whole_seconds: bool = False
    prices: Path | None = Field(
        default=None,
        description="a price list of its own, in the folder of this file, with the columns of configs/prices.csv",
    )
    voices_path: str | None = Field(default=None, description="path of the list of voices, below the API path")
    rate_limit_headers: tuple[RateLimitDialect, ...] = ()
    error_quirks: frozenset[ErrorQuirk] = frozenset()
    operations: Mapping[str, InstanceOf[OperationConfig[Any]]]

    @property
    def billing(self) -> Billing:
        """Its billing rules."""
        return Billing(self.free, self.least_seconds, self.whole_seconds, self.prices)

    @field_validator("operations", mode="before")
    @classmethod
    def _read_operations(cls, blocks: Any) -> dict[str, OperationConfig[Any]]:
        if not isinstance(blocks, dict) or not all(isinstance(block, dict) for block in blocks.values()):
            raise ValueError("each operation must be a block of its own")
        return {name: _read_operation(name, block) for name, block in blocks.items()}


def _read_operation(name: str, block: Mapping[str, Any]) -> OperationConfig[Any]:
    adapter = block.get("adapter")
    if adapter is None and not is_operation(name):
        raise ValueError(f"there is no operation {name!r}")
    try:
        return load_operation_class(name, adapter).config_model.model_validate(block)
    except ValidationError as error:
        raise ValueError(_format_first_error(error, name)) from None
    except UsageError:  # another package's operation; it says itself what to do
        raise
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{name}: {error}") from None
    except (Exception, SystemExit) as error:  # an adapter may be another package's
        raise ValueError(f"{name}: {type(error).__name__}: {error}".partition("\n")[0]) from error


def _format_first_error(error: ValidationError, *location: str) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(map(str, (*location, *first["loc"])))
    return f"{where}{': ' if where else ''}{first['msg'].removeprefix('Value error, ')}"


def read_config(path: Path, *, hint: str = _FIX_HINT) -> ProviderConfig:
    """The configuration in a file.

    Args:
        path: the YAML file.
        hint: the next step when the file is wrong.

    Raises:
        UsageError: when the file cannot be read, holds an unknown or wrong field, or has an operation of another
            package that cannot be used; it names the field or the operation.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where PyYAML has it, needs a fifth of the time
    try:
        config = ProviderConfig.model_validate(yaml.load(path.read_text(encoding="utf-8"), Loader=loader))  # noqa: S506
    except ValidationError as error:
        raise UsageError(f"{path}: {_format_first_error(error)}", hint=hint) from None
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", hint=error.hint) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{path}: {reason}", hint=hint) from None
    return config if config.prices is None else config.model_copy(update={"prices": path.parent / config.prices})


def parse_endpoint(base_url: str, api: str, key_env: str | None) -> Endpoint:
    """Origin and API path of a base URL, given with or without the API path or a trailing ``/v1``.

    For some SDKs the same variable means ``https://host/v1``, for others ``https://host`` (provider docs), so both are
    accepted. A longer path is kept.

    Args:
        base_url: the URL as the user wrote it.
        api: the provider's own API path, e.g. ``/v1`` or ``/openai/v1``.
        key_env: the NAME of the environment variable that holds the key.

    Raises:
        UsageError: when it is not an http(s) URL.
    """
    origin, path = _split_base_url(base_url)
    path = path.rstrip("/")
    path = path[:-3] if path.endswith(("/v1", "/v2")) else path
    stem = api.removesuffix("/v1")
    path = path if stem and path.endswith(stem) else path + stem
    return Endpoint(origin, f"{path}/v1", key_env)


def _split_base_url(base_url: str) -> tuple[str, str]:
    """Origin and path. The origin is normalised, because it is part of every request key."""
    hint = "write http(s)://host[:port][/path]"
    try:
        parts = urlsplit(base_url.strip())
        host, port = (None, None) if re.search(r"[\x00-\x20]", base_url.strip()) else (parts.hostname, parts.port)
    except ValueError:
        host, port = None, None
    if not host or not re.fullmatch(r"[A-Za-z0-9._:-]+", host) or parts.scheme not in _PORTS:
        raise UsageError("the base URL is not a valid URL", hint=hint)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise UsageError(f"the base URL for {host} has more than a host and a path", hint=hint)
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, _PORTS[parts.scheme]) else ""), parts.path
