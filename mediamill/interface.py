"""The public interface: the functions that run a job from Python, and all that an extension of mediamill needs.

It is imported at the first use of one of its names, as in ``from mediamill import Operation``. The built-in operations
are here for subclasses, where a provider differs from one of them in a few fields.
"""

from __future__ import annotations

from mediamill.tasks.calls.download import Download
from mediamill.tasks.capabilities.base import (
    Call,
    Capability,
    CapabilityContext,
    Estimate,
    Judgement,
    Media,
    SecondOpinion,
    TrySettings,
)
from mediamill.tasks.capabilities.parameters import NamesFiles, Option, ReadsFile, RowsOnly, parse_list
from mediamill.tasks.domain import JSON, Answer, Ask, Cost, Input, Item, Payload, Preparation, Usage
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
    RunFailed,
    RunStopped,
    RunWarning,
    StorageError,
    UnknownOutcome,
    Unpriced,
    UsageError,
)
from mediamill.tasks.escalation import Escalation
from mediamill.tasks.job import Columns, Job
from mediamill.tasks.job_loading import load_job, make_job
from mediamill.tasks.media.endpoint_fit import CutPoints
from mediamill.tasks.media.images.prepare import ImageLimits
from mediamill.tasks.money.audio import AudioMeter
from mediamill.tasks.money.images import ImageMeter
from mediamill.tasks.money.meter import Meter, Metered, max_by_unit, pick_trusted_prices
from mediamill.tasks.money.per_unit import UnitMeter
from mediamill.tasks.money.prices import Price
from mediamill.tasks.money.speech import SpeechMeter
from mediamill.tasks.money.tokens import TokenMeter
from mediamill.tasks.money.videos import VideoMeter
from mediamill.tasks.not_taken import NotTaken
from mediamill.tasks.pipeline.quote import ChainQuote
from mediamill.tasks.pipeline.result import ChainResult, StepResult
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
    to_parsed,
)
from mediamill.tasks.providers.operations.chat import (
    ChatConfig,
    ChatModel,
    ChatOperation,
    CompletionConfig,
    CompletionOperation,
)
from mediamill.tasks.providers.operations.code_interpreter import (
    CodeInterpreterOperation,
    InterpreterConfig,
    InterpreterModel,
)
from mediamill.tasks.providers.operations.embeddings import EmbeddingConfig, EmbeddingModel, EmbeddingOperation
from mediamill.tasks.providers.operations.image_config import ImageConfig, ImageModel
from mediamill.tasks.providers.operations.images import ImageOperation
from mediamill.tasks.providers.operations.realtime import SocketConfig, SpeechModel
from mediamill.tasks.providers.operations.rerank import RerankConfig, RerankModel, RerankOperation
from mediamill.tasks.providers.operations.transcription import (
    SpeechToTextConfig,
    SpeechToTextOperation,
    TranscriptionConfig,
    TranscriptionModel,
    TranscriptionOperation,
)
from mediamill.tasks.providers.operations.translation import TranslationConfig, TranslationModel, TranslationOperation
from mediamill.tasks.providers.operations.tts import TtsConfig, TtsModel, TtsOperation
from mediamill.tasks.providers.operations.videos import DocumentedRange, VideoConfig, VideoModel, VideoOperation
from mediamill.tasks.providers.operations.vision import Patches, Vision
from mediamill.tasks.providers.operations.vision_chat import VisionChatOperation, VisionConfig, VisionModel
from mediamill.tasks.providers.provider_info import ErrorQuirk, ProviderInfo, RateLimitDialect
from mediamill.tasks.python.functions import quote, retry, run
from mediamill.tasks.python.out_folder import OutFolder
from mediamill.tasks.python.out_folder import open_out as open  # noqa: A004 (as gzip.open, it is named by its module)
from mediamill.tasks.python.out_folder import read_out_status as status
from mediamill.tasks.python.run_handle import RunHandle
from mediamill.tasks.python.work import run_job
from mediamill.tasks.schedule import Schedule
from mediamill.tasks.summary import FailureGroup, JsonSummary, Outage, Progress, Quote, SidecarCounts, Status, Summary
from mediamill.tasks.websocket_session import SOCKET_HEADER, MessageFlags, UnreadableMessage, WebsocketSession
from mediamill.tasks.wire import (
    FIRST_CHUNK_HEADER,
    JOB_ID_HEADER,
    JOB_STATES_HEADER,
    AudioLimits,
    Batching,
    Billing,
    Endpoint,
    ModelEnd,
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
    "AudioLimits",
    "AudioMeter",
    "AudioOperation",
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
    "ChainQuote",
    "ChainResult",
    "ChatConfig",
    "ChatModel",
    "ChatOperation",
    "CodeInterpreterOperation",
    "Columns",
    "CompletionConfig",
    "CompletionOperation",
    "Cost",
    "CutPoints",
    "DocumentedRange",
    "Download",
    "EmbeddingConfig",
    "EmbeddingModel",
    "EmbeddingOperation",
    "Endpoint",
    "ErrorQuirk",
    "Escalation",
    "Estimate",
    "FailureGroup",
    "ImageConfig",
    "ImageLimits",
    "ImageMeter",
    "ImageModel",
    "ImageOperation",
    "Input",
    "InterpreterConfig",
    "InterpreterModel",
    "Item",
    "ItemError",
    "Job",
    "JobOperation",
    "JsonSummary",
    "Judgement",
    "Media",
    "MediamillError",
    "MessageFlags",
    "Meter",
    "Metered",
    "ModelEnd",
    "ModelFacts",
    "NamesFiles",
    "NoSuchOption",
    "NotTaken",
    "Operation",
    "OperationConfig",
    "Option",
    "OutFolder",
    "Outage",
    "OutputBusy",
    "Parsed",
    "Patches",
    "Payload",
    "Poll",
    "Preparation",
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
    "ReadsFile",
    "Reply",
    "Request",
    "RerankConfig",
    "RerankModel",
    "RerankOperation",
    "RowsOnly",
    "RunFailed",
    "RunHandle",
    "RunStopped",
    "RunWarning",
    "Schedule",
    "SecondOpinion",
    "SidecarCounts",
    "SocketConfig",
    "SpeechMeter",
    "SpeechModel",
    "SpeechToTextConfig",
    "SpeechToTextOperation",
    "Status",
    "StepResult",
    "StorageError",
    "StrictModel",
    "Summary",
    "TokenMeter",
    "TranscriptionConfig",
    "TranscriptionModel",
    "TranscriptionOperation",
    "TranslationConfig",
    "TranslationModel",
    "TranslationOperation",
    "TrySettings",
    "TtsConfig",
    "TtsModel",
    "TtsOperation",
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
    "VideoOperation",
    "Vision",
    "VisionChatOperation",
    "VisionConfig",
    "VisionModel",
    "WebsocketSession",
    "Wire",
    "classify_error",
    "load_job",
    "make_job",
    "max_by_unit",
    "open",
    "parse_list",
    "pick_trusted_prices",
    "quote",
    "retry",
    "run",
    "run_job",
    "status",
    "to_parsed",
]
