"""The providers' SDK clients, set to the built-in server and without retries."""

from __future__ import annotations

import groq
import openai
import together

from tests.helpers.local_server import RunningServer


def make_together_client(server: RunningServer, key: str = "some-key") -> together.Together:
    return together.Together(api_key=key, base_url=f"{server.origin}/together", max_retries=0, timeout=60)


def make_async_together_client(server: RunningServer, key: str = "some-key") -> together.AsyncTogether:
    return together.AsyncTogether(api_key=key, base_url=f"{server.origin}/together", max_retries=0, timeout=60)


def make_openai_client(server: RunningServer, path: str = "/openai-api/v1", key: str = "some-key") -> openai.OpenAI:
    return openai.OpenAI(api_key=key, base_url=server.origin + path, max_retries=0, timeout=60)


def make_groq_client(server: RunningServer, path: str = "/groq", key: str = "some-key") -> groq.Groq:
    return groq.Groq(api_key=key, base_url=server.origin + path, max_retries=0, timeout=60)
