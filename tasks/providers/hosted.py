"""A provider's operations beyond speech: each a shape, chosen by the operation's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from mediamill.tasks.domain import Ask
from mediamill.tasks.errors import UsageError
from mediamill.tasks.providers.chat import Chat
from mediamill.tasks.providers.chatting import CHAT, VISION, Talk
from mediamill.tasks.providers.config import ModelFacts, Operation
from mediamill.tasks.providers.embedding import EMBEDDINGS, Embed, Embeds
from mediamill.tasks.providers.filming import VIDEO_MAKING, Films, FilmWire
from mediamill.tasks.providers.images import MakePictures
from mediamill.tasks.providers.imaging import IMAGE, Images
from mediamill.tasks.providers.interpreter import INTERPRETER, Interpret, Interprets
from mediamill.tasks.providers.ranking import RERANK, Ranks
from mediamill.tasks.providers.rerank import Rerank
from mediamill.tasks.providers.shape import Shape
from mediamill.tasks.providers.speech import SpeechProvider
from mediamill.tasks.providers.videos import Videos
from mediamill.tasks.providers.vision import Vision
from mediamill.tasks.wire import Parsed, Poll, Problem, Quota, Reply, Request, Wire


class HostedProvider(SpeechProvider):
    """Speech in OpenAI's way, and every other operation by the shape that stands in ``shapes``."""

    shapes: ClassVar[Mapping[str, type[Shape]]] = {
        CHAT: Chat,
        VISION: Chat,
        RERANK: Rerank,
        EMBEDDINGS: Embed,
        INTERPRETER: Interpret,
        VIDEO_MAKING: Videos,
        IMAGE: MakePictures,
    }

    def shape(self, operation: str) -> Shape | None:
        """How the provider speaks an operation; None for speech.

        Raises:
            UsageError: when the provider has no such operation.
        """
        made = self.shapes.get(operation)
        return made(self, operation) if made else None

    def facts(self, operation: str) -> Operation:
        """What the configuration says of an operation.

        Raises:
            UsageError: when the provider has no such operation.
        """
        return self._operation(operation)

    def talk(self, operation: str, model: str) -> Talk:
        """What a model that answers prompts can do.

        Raises:
            UsageError: when the provider has no such operation.
        """
        return self._facts(self._operation(operation), model).talk or Talk()

    def vision(self, model: str) -> Vision:
        """What pictures a model takes.

        Raises:
            UsageError: when it does not see.
        """
        vision = self._facts(self._operation(VISION), model).vision
        if vision is None:
            raise UsageError(f"{model} does not see pictures", hint=self._who_can(VISION))
        return vision

    def ranks(self, model: str) -> Ranks:
        """What a model that ranks can do.

        Raises:
            UsageError: when the provider ranks nothing.
        """
        return self._able(RERANK, model).ranks or Ranks()

    def embeds(self, model: str) -> Embeds:
        """What a model that embeds can do.

        Raises:
            UsageError: when the provider embeds nothing.
        """
        return self._able(EMBEDDINGS, model).embeds or Embeds()

    def interprets(self, model: str) -> Interprets:
        """What an interpreter can do.

        Raises:
            UsageError: when the provider runs no code.
        """
        return self._able(INTERPRETER, model).interprets or Interprets()

    def images(self, model: str) -> Images:
        """What a model that makes pictures takes.

        Raises:
            UsageError: when the provider makes none.
        """
        return self._able(IMAGE, model).images or Images()

    def films(self, model: str) -> Films:
        """What a model that makes videos can do.

        Raises:
            UsageError: when the provider makes none.
        """
        return self._able(VIDEO_MAKING, model).films or Films()

    def film_wire(self) -> FilmWire:
        """How it is asked for videos.

        Raises:
            UsageError: when the provider makes none.
        """
        wire = self._operation(VIDEO_MAKING).film
        assert wire is not None
        return wire

    def _able(self, operation: str, model: str) -> ModelFacts:
        return self._facts(self._operation(operation), model)

    def key_origin(self, model: str) -> str:
        """The origin as request keys name it."""
        return self._key_origin(model)

    def quota(self, operation: str, model: str) -> Quota:
        """Rates and concurrency to begin with, and how many Asks share a request."""
        quota = super().quota(operation, model)
        if operation == VIDEO_MAKING:
            return replace(quota, jobs=self.film_wire().jobs)
        return replace(quota, per_request=self.embeds(model).max_texts) if operation == EMBEDDINGS else quota

    def wire(self, ask: Ask) -> Wire:
        """The endpoint and the wire's own parameters.

        Raises:
            BadInput: when the model cannot do what is asked.
        """
        shape = self.shape(ask.operation)
        return shape.wire(ask) if shape else super().wire(ask)

    def request(self, wire: Wire, asks: Sequence[Ask]) -> Request:
        """The request for one or more Asks."""
        shape = self.shape(asks[0].operation)
        return shape.request(wire, asks) if shape else super().request(wire, asks)

    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """One Parsed per Ask, in order.

        Raises:
            BadReply: when the reply is not what the operation returns.
        """
        shape = self.shape(asks[0].operation)
        return shape.parse(reply, asks) if shape else super().parse(reply, asks)

    def classify(self, reply: Reply, operation: str = "") -> Problem | None:
        """What an error reply means; None for an answer."""
        shape = self.shape(operation)
        return shape.classify(reply) if shape else super().classify(reply, operation)

    def accepted(self, reply: Reply, operation: str) -> str:
        """The remote id in the reply to a create request."""
        return self._polled_shape(operation).accepted(reply)

    def poll(self, wire: Wire, remote_id: str, operation: str) -> Request:
        """The request that asks how a job is doing."""
        return self._polled_shape(operation).poll(wire, remote_id)

    def polled(self, reply: Reply, operation: str) -> Poll:
        """What the poll's reply tells."""
        return self._polled_shape(operation).polled(reply)

    def _polled_shape(self, operation: str) -> Shape:
        shape = self.shape(operation)
        assert shape is not None
        return shape
