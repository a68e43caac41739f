"""The flow of another package's capability: the package of docs/extending.md, installed beside the wheel."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows.prefect_runtime.prefect_server import PrefectServer
from tests.packaging.environments import build_wheel, make_environment, make_foreign_folder
from tests.packaging.extending_page import INSTALL, PageReader, read_page, write_files

pytestmark = pytest.mark.long

FLOW = """
from mediamill.flows.capability_flows import judge_mood
print("RESULT", judge_mood("texts.csv", provider="acme", out="flow", budget=1, options={"base_url": "ADDRESS"})["done"])
"""


@pytest.fixture
def reader(tmp_path: Path, prefect_server: PrefectServer) -> PageReader:
    """Who has installed the page's package and has a Prefect server."""
    programs = make_environment(tmp_path / "environment", build_wheel(tmp_path / "ours"))
    folder = make_foreign_folder(tmp_path / "acme-mood")
    for section in read_page():
        write_files(section, folder)
    env = {**prefect_server.env(), "PYTHONPATH": str(folder), "ACME_API_KEY": "a-key"}
    reader = PageReader(programs, folder, env)
    reader.run(INSTALL)
    return reader


def test_a_packages_capability_is_a_flow(reader: PageReader, prefect_server: PrefectServer) -> None:
    with reader.serve("python acme_server.py --port 9001") as acme:
        job = f"mediamill judge-mood texts.csv --provider acme --base-url {acme.address}/v1 --budget 1 --out command"
        assert "flow run at" in reader.run(job, exit_code=3)
        (reader.folder / "texts.csv").write_text("id,text\na,What a day\n", encoding="utf-8")
        script = reader.folder / "call_flow.py"
        script.write_text(FLOW.replace("ADDRESS", f"{acme.address}/v1"), encoding="utf-8")
        assert "RESULT 1" in reader.run("python call_flow.py")
    names = [run["name"] for run in prefect_server.flow_runs() if "judge-mood" in run["name"]]
    assert len(names) == 2
