"""What is replaced in a document's TypeScript and JavaScript blocks so that they run against another server."""

from __future__ import annotations

import re

LANGUAGES = ("typescript", "ts", "javascript", "js")

_UPLOAD = re.compile(r"""(\bfile: )(["'])[\w/.-]+\.(?:mp3|wav)\2""")
_FILE_NAME = re.compile(r"""(["'])\.?/?((?:[\w-]+/)*[\w-]+\.(?:mp3|wav|jpe?g))\1""")
_MEDIA_URL = re.compile(r"""https?://[^"'\s]+?\.(mp4|mp3|jpe?g|png)(?=["'])""")
_MEDIA_BY_EXTENSION = {"mp4": "day.mp4", "mp3": "speech.mp3", "png": "page.png"}
_IMPORT = re.compile(r"^\s*import\s.*?;\s*$", re.MULTILINE)
_TOGETHER = 'import Together from "together-ai";\nconst together = new Together();\n'
_TOOL = """\
import { createTool } from "@mastra/core/tools";
import { z } from "zod";
const weatherTool = createTool({
  id: "weather",
  description: "The weather of a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: async () => ({ weather: "sunny" }),
});
"""
"""What the documents' earlier lines have defined where a block begins in the middle."""


def list_file_names(text: str) -> list[str]:
    """The media files that a block opens, as relative paths."""
    return sorted({name for _, name in _FILE_NAME.findall(_UPLOAD.sub("", text))})


def localize(text: str, origin: str, media: str) -> str:
    """A block for the server at ``origin``, with the media of the server at ``media``; its calls stay as they are.

    An uploaded file that is named by a path becomes a URL: the clients send a text as it is, and the API takes URLs.
    """
    socket_origin = origin.replace("http", "ws", 1)
    for vendor, local in (
        ("wss://api.together.ai", f"{socket_origin}/together"),
        ("https://api.together.xyz", f"{origin}/together"),
        ("createTogetherAI({", "createTogetherAI({ baseURL: process.env.TOGETHER_BASE_URL,"),
        ("setTimeout(resolve, 5000)", "setTimeout(resolve, 100)"),
        ("/path/to/", ""),
    ):
        text = text.replace(vendor, local)
    text = _UPLOAD.sub(rf"\1\2{media}/speech.mp3\2", text)
    text = _MEDIA_URL.sub(lambda url: f"{media}/{_MEDIA_BY_EXTENSION.get(url[1], 'house.jpg')}", text)
    if re.search(r"\btogether\.", text) and "import Together" not in text:
        text = _TOGETHER + text
    if re.search(r"\bweatherTool\b", text) and "createTool" not in text:
        text = _TOOL + text
    if re.search(r"^\s*return;", text, re.MULTILINE) and "function" not in text:
        imports = "\n".join(_IMPORT.findall(text))
        text = f"{imports}\nawait (async () => {{\n{_IMPORT.sub('', text)}\n}})();\n"
    return text
