"""The models that generate images and videos, their jobs and their files."""

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
    """What a video model accepts; empty or None is no limit.

    Attributes:
        seconds, sizes, fps: possible values; the first is the default. Sizes are width and height in pixels.
        frames: maximum number of images given as frames.
        prompt: minimum and maximum number of characters.
        optional: the prompt may be left out.
    """

    seconds: tuple[int, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    fps: tuple[int, ...] = ()
    frames: int | None = None
    prompt: tuple[int, int] = (1, 32_000)
    optional: bool = False


@dataclass(frozen=True, slots=True)
class ServedImageModel:
    """What an image model accepts.

    Attributes:
        sizes: possible widths and heights in pixels; empty for any.
        sides: minimum and maximum side in pixels, where any size in steps of ``step`` is accepted.
        step: pixels.
        max_n: maximum images of one request; None is the provider's number.
        steps: maximum denoising steps.
    """

    sizes: tuple[tuple[int, int], ...] = ()
    sides: tuple[int, int] = (64, 4096)
    step: int = 8
    max_n: int | None = None
    steps: int = 100


@dataclass(frozen=True, slots=True)
class GenerationModels:
    """The models of one dialect; ``named`` ones are accepted for images and videos."""

    videos: Mapping[str, ServedVideoModel]
    images: Mapping[str, ServedImageModel]
    named: frozenset[str] = frozenset()

    def find_video_model(self, model: str) -> ServedVideoModel | None:
        """What a video model accepts; None when the model is unknown."""
        return self.videos.get(model) or (ServedVideoModel() if model in self.named else None)

    def find_image_model(self, model: str) -> ServedImageModel | None:
        """What an image model accepts; None when the model is unknown."""
        return self.images.get(model) or (ServedImageModel() if model in self.named else None)


def read_generation_models(known: Mapping[str, Any], dialect: str, named: Iterable[str]) -> GenerationModels:
    """A dialect's models from the configuration, and those that ``--model`` names."""
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
        job_seconds: minimum and maximum time from a job's creation to its end.
        link_seconds: how long a link works.
    """

    models: Mapping[str, GenerationModels]
    job_seconds: tuple[float, float] = (0.0, 0.2)
    link_seconds: float = 3600.0
    jobs: JobStore = field(default_factory=JobStore)
    files: MediaCache = field(default_factory=MediaCache)

    def map_models_to_kinds(self, dialect: str) -> dict[str, str]:
        """The dialect's models, each with what it generates: ``image`` or ``video``."""
        models = self.models[dialect]
        return {**dict.fromkeys(models.images, "image"), **dict.fromkeys(models.videos, "video")}

    def close(self) -> None:
        """Close the jobs' file and remove the media files."""
        self.jobs.close()
        self.files.close()


def open_generation_state(
    models: Mapping[str, GenerationModels],
    job_seconds: tuple[float, float],
    link_seconds: float,
    bill_file: Path | None,
) -> GenerationState:
    """The state of a server. Its jobs are kept in a file beside the bill's, so that both outlive the server.

    Raises:
        StorageError: when the jobs' file cannot be written.
    """
    file = None if bill_file is None else bill_file.with_name(bill_file.name + ".jobs")
    return GenerationState(models, job_seconds, link_seconds, JobStore(file))
