"""The models that make images and videos, their jobs, and their files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mediamill.tasks.local.media_generation.job_store import JobStore
from mediamill.tasks.local.media_generation.media_cache import MediaCache
from mediamill.tasks.local.media_generation.specs import parse_size


@dataclass(frozen=True, slots=True)
class ServedVideoModel:
    """A model that makes videos; what is empty or None is not limited.

    Attributes:
        seconds, sizes, fps: that can be asked for; the first is made unless another is.
        frames: most pictures that stand for frames.
        prompt: fewest and most characters.
        optional: it needs no prompt.
    """

    seconds: tuple[int, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    fps: tuple[int, ...] = ()
    frames: int | None = None
    prompt: tuple[int, int] = (1, 32_000)
    optional: bool = False


@dataclass(frozen=True, slots=True)
class ServedImageModel:
    """A model that makes pictures.

    Attributes:
        sizes: that can be asked for; empty for any.
        sides: shortest and longest side in pixels, where any size in steps of ``step`` is taken.
        step: pixels.
        max_n: images of one request; None is the provider's number.
        steps: most denoising steps.
    """

    sizes: tuple[tuple[int, int], ...] = ()
    sides: tuple[int, int] = (64, 4096)
    step: int = 8
    max_n: int | None = None
    steps: int = 100


@dataclass(frozen=True, slots=True)
class GenerationModels:
    """The models of one dialect; ``named`` ones are taken whatever they are."""

    videos: Mapping[str, ServedVideoModel]
    images: Mapping[str, ServedImageModel]
    named: frozenset[str] = frozenset()

    def find_video_model(self, model: str) -> ServedVideoModel | None:
        """What a model that makes videos takes; None when it is unknown."""
        return self.videos.get(model) or (ServedVideoModel() if model in self.named else None)

    def find_image_model(self, model: str) -> ServedImageModel | None:
        """What a model that makes pictures takes; None when it is unknown."""
        return self.images.get(model) or (ServedImageModel() if model in self.named else None)


def read_generation_models(known: Mapping[str, Any], dialect: str, named: Iterable[str]) -> GenerationModels:
    """A dialect's models as the configuration has them, and those that were named besides."""
    videos, images = (known[kind].get(dialect) or {} for kind in ("videos", "images"))
    return GenerationModels(
        {name: ServedVideoModel(**_parse_model_facts(facts)) for name, facts in videos.items()},
        {name: ServedImageModel(**_parse_model_facts(facts)) for name, facts in images.items()},
        frozenset(named),
    )


def _parse_model_facts(fields: Mapping[str, Any] | None) -> dict[str, Any]:
    params = {name: tuple(value) if isinstance(value, list) else value for name, value in (fields or {}).items()}
    if "sizes" in params:
        params["sizes"] = tuple(parse_size(size) for size in params["sizes"])
    return params


@dataclass(slots=True)
class GenerationState:
    """Models by dialect, jobs, and files.

    Attributes:
        job_seconds: least and most from a job's creation to its end.
        link_seconds: how long a link works.
    """

    models: Mapping[str, GenerationModels]
    job_seconds: tuple[float, float] = (0.0, 0.2)
    link_seconds: float = 3600.0
    jobs: JobStore = field(default_factory=JobStore)
    files: MediaCache = field(default_factory=MediaCache)

    def kind_by_model(self, dialect: str) -> dict[str, str]:
        """The dialect's models, with ``image`` or ``video`` for what each makes."""
        models = self.models[dialect]
        return {**dict.fromkeys(models.images, "image"), **dict.fromkeys(models.videos, "video")}

    def close(self) -> None:
        """Remove the files."""
        self.jobs.close()
        self.files.close()


def open_generation_state(
    models: Mapping[str, GenerationModels],
    job_seconds: tuple[float, float],
    link_seconds: float,
    bill_file: Path | None,
) -> GenerationState:
    """The state of a server; beside the bill's file is one of its jobs, so that both outlive the server.

    Raises:
        StorageError: when that cannot be written.
    """
    file = None if bill_file is None else bill_file.with_name(bill_file.name + ".jobs")
    return GenerationState(models, job_seconds, link_seconds, JobStore(file))
