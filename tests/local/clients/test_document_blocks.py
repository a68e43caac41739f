"""Blocks are found with and without fences, and keep their calls when they are set to another server."""

from __future__ import annotations

from pathlib import Path

from tests.local.clients.document_blocks import find_blocks, list_file_names, localize

DOCUMENT = """\
Read this.

<Tabs>
  ```python Python theme={null}
  print("fenced")
  if True:
      pass
  ```
  ```json
  {"a": 1}
  ```
</Tabs>
from openai import OpenAI

client = OpenAI()
print(client)
Output

The picture shows two dogs.
"""


def test_blocks_are_found_and_localized(tmp_path: Path) -> None:
    document = tmp_path / "guide.txt"
    document.write_text(DOCUMENT, encoding="utf-8")
    fenced, unfenced = find_blocks(document)
    assert (fenced.line, fenced.text) == (4, 'print("fenced")\nif True:\n    pass')
    assert (unfenced.line, unfenced.text) == (13, "from openai import OpenAI\n\nclient = OpenAI()\nprint(client)")
    text = """client = Together()\nopen("/home/a/b.jpeg"); f"{read('c.mp3')}"; get("https://x.example/d.png")"""
    assert list_file_names(text) == ["c.mp3", "home/a/b.jpeg"]
    assert localize(text, "http://h:1", "http://m:2", "k").splitlines()[1] == (
        """open("home/a/b.jpeg"); f"{read('c.mp3')}"; get("http://m:2/page.png")"""
    )
