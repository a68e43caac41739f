"""The public interface: what runs a job from Python, and all that another package needs to add to mediamill.

It is imported by its names' first use, as ``from mediamill import Operation``. The built-in operations are here to be
inherited from, where a provider differs from one in a few fields.
"""

from __future__ import annotations

from mediamill.tasks.calls.download import Download
from mediamill.tasks.capabilities.base import Call, Capability, CapabilityContext, Estimate, Media
from mediamill.tasks.capabilities.parameters import Option, parse_list
from mediamill.tasks.domain import JSON, Answer, Ask, Cost, Input, Item, Payload, Usage
from mediamill.tasks.errors import (
    AccountStopped,
    BadInput,
    BadReply,
    BudgetReached,
    CallFailed,
    ItemError,
    MediamillError,
    NoSuchOption,
    OutputBusy,
    ProviderDown,
    RunStopped,
    StorageError,
    UnknownOutcome,
    Unpriced,
    UsageError,
)
from mediamill.tasks.job import Columns, Job, Schedule, load_job, make_job
from mediamill.tasks.media.endpoint_fit import CutPoints
from mediamill.tasks.media.images.prepare import ImageLimits
from mediamill.tasks.money.audio import AudioMeter
from mediamill.tasks.money.images import ImageMeter
from mediamill.tasks.money.meter import Meter, Metered, max_by_unit, trusted_by_unit
from mediamill.tasks.money.per_unit import UnitMeter
from mediamill.tasks.money.prices import Price
from mediamill.tasks.money.speech import SpeechMeter
from mediamill.tasks.money.tokens import TokenMeter
from mediamill.tasks.money.videos import VideoMeter
from mediamill.tasks.providers.base import BaseProvider
from mediamill.tasks.providers.config import ProviderConfig
from mediamill.tasks.providers.errors.classify import classify_error
from mediamill.tasks.providers.operations.base import (
    AudioOperation,
    JobOperation,
    ModelFacts,
    Operation,
    OperationConfig,
    StrictModel,
    parsed,
)
from mediamill.tasks.providers.operations.chat import Chat, ChatConfig, ChatModel, Completion, CompletionConfig
from mediamill.tasks.providers.operations.code_interpreter import CodeInterpreter, InterpreterConfig, InterpreterModel
from mediamill.tasks.providers.operations.embeddings import EmbeddingConfig, EmbeddingModel, Embeddings
from mediamill.tasks.providers.operations.image_config import ImageConfig, ImageModel
from mediamill.tasks.providers.operations.images import Images
from mediamill.tasks.providers.operations.realtime import SocketConfig, SpeechFacts
from mediamill.tasks.providers.operations.rerank import Rerank, RerankConfig, RerankModel
from mediamill.tasks.providers.operations.transcription import (
    AudioConfig,
    AudioUpload,
    Transcription,
    TranscriptionConfig,
    TranscriptionModel,
)
from mediamill.tasks.providers.operations.translation import Translation, TranslationConfig, TranslationModel
from mediamill.tasks.providers.operations.tts import Tts, TtsConfig, TtsModel
from mediamill.tasks.providers.operations.videos import VideoConfig, VideoModel, Videos
from mediamill.tasks.providers.operations.vision import Patches, Vision
from mediamill.tasks.providers.operations.vision_chat import VisionChat, VisionConfig, VisionModel
from mediamill.tasks.providers.provider_info import ErrorQuirk, ProviderInfo, RateLimitDialect
from mediamill.tasks.quote import quote
from mediamill.tasks.run_job import run, run_job
from mediamill.tasks.summary import FailureGroup, Progress, Quote, Summary
from mediamill.tasks.websocket_session import SOCKET_HEADER, MessageFlags, UnreadableMessage, WebsocketSession
from mediamill.tasks.wire import (
    FIRST_CHUNK_HEADER,
    JOB_ID_HEADER,
    JOB_STATES_HEADER,
    AudioLimits,
    Batching,
    Billing,
    Endpoint,
    Parsed,
    Poll,
    Problem,
    Provider,
    Quota,
    RateLimits,
    Reply,
    Request,
    Verdict,
    Wire,
)

__all__ = [
    "FIRST_CHUNK_HEADER",
    "JOB_ID_HEADER",
    "JOB_STATES_HEADER",
    "JSON",
    "SOCKET_HEADER",
    "AccountStopped",
    "Answer",
    "Ask",
    "AudioConfig",
    "AudioLimits",
    "AudioMeter",
    "AudioOperation",
    "AudioUpload",
    "BadInput",
    "BadReply",
    "BaseProvider",
    "Batching",
    "Billing",
    "BudgetReached",
    "Call",
    "CallFailed",
    "Capability",
    "CapabilityContext",
    "Chat",
    "ChatConfig",
    "ChatModel",
    "CodeInterpreter",
    "Columns",
    "Completion",
    "CompletionConfig",
    "Cost",
    "CutPoints",
    "Download",
    "EmbeddingConfig",
    "EmbeddingModel",
    "Embeddings",
    "Endpoint",
    "ErrorQuirk",
    "Estimate",
    "FailureGroup",
    "ImageConfig",
    "ImageLimits",
    "ImageMeter",
    "ImageModel",
    "Images",
    "Input",
    "InterpreterConfig",
    "InterpreterModel",
    "Item",
    "ItemError",
    "Job",
    "JobOperation",
    "Media",
    "MediamillError",
    "MessageFlags",
    "Meter",
    "Metered",
    "ModelFacts",
    "NoSuchOption",
    "Operation",
    "OperationConfig",
    "Option",
    "OutputBusy",
    "Parsed",
    "Patches",
    "Payload",
    "Poll",
    "Price",
    "Problem",
    "Progress",
    "Provider",
    "ProviderConfig",
    "ProviderDown",
    "ProviderInfo",
    "Quota",
    "Quote",
    "RateLimitDialect",
    "RateLimits",
    "Reply",
    "Request",
    "Rerank",
    "RerankConfig",
    "RerankModel",
    "RunStopped",
    "Schedule",
    "SocketConfig",
    "SpeechFacts",
    "SpeechMeter",
    "StorageError",
    "StrictModel",
    "Summary",
    "TokenMeter",
    "Transcription",
    "TranscriptionConfig",
    "TranscriptionModel",
    "Translation",
    "TranslationConfig",
    "TranslationModel",
    "Tts",
    "TtsConfig",
    "TtsModel",
    "UnitMeter",
    "UnknownOutcome",
    "Unpriced",
    "UnreadableMessage",
    "Usage",
    "UsageError",
    "Verdict",
    "VideoConfig",
    "VideoMeter",
    "VideoModel",
    "Videos",
    "Vision",
    "VisionChat",
    "VisionConfig",
    "VisionModel",
    "WebsocketSession",
    "Wire",
    "classify_error",
    "load_job",
    "make_job",
    "max_by_unit",
    "parse_list",
    "parsed",
    "quote",
    "run",
    "run_job",
    "trusted_by_unit",
]
