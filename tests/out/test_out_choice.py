"""Which OUT a job gets: an OUT keeps what it is bound to, and what names something else gets its own or is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mediamill.tasks.errors import UsageError
from mediamill.tasks.job_loading import make_job
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.output_binding import Binding
from mediamill.tasks.run.resolved_job import ResolvedJob, resolve_job
from tests.helpers.cli_runs import mediamill

KEYS = ("TOGETHER_API_KEY", "OPENAI_API_KEY", "GROQ_API_KEY", "XAI_API_KEY", "CO_API_KEY")
SOURCE = "recordings"
BASE = make_job(capability="transcribe", source=SOURCE).out_path.removeprefix("data/results/")


@pytest.fixture(autouse=True)
def no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def get_base() -> str:
    return make_job(capability="transcribe", source=SOURCE).out_path


def resolve(**fields: Any) -> ResolvedJob:
    return resolve_job(make_job(**{"capability": "transcribe", "source": SOURCE, **fields}))


async def bind(resolved: ResolvedJob, **job: Any) -> Path:
    """Bind a job's OUT as its first run does."""
    params = resolved.params.model_dump(mode="json", exclude_defaults=True)
    binding = Binding.from_values(SOURCE, resolved.capability.name, resolved.provider.name, resolved.model, params)
    resolved.out.mkdir(parents=True, exist_ok=True)
    journal = Journal.open(resolved.out)
    stored = resolved.job.model_dump(mode="json")
    await journal.output.bind(resolved.out, binding, {**stored, **job})
    journal.close()
    return resolved.out


def get_name(resolved: ResolvedJob) -> str:
    """The end of the name of a job's OUT, after that of the default one."""
    name = resolved.out.name
    assert name.startswith(Path(get_base()).name)
    return name.removeprefix(Path(get_base()).name)


async def test_a_default_out_is_gone_on_with_where_nothing_else_is_named() -> None:
    out = await bind(resolve())
    assert resolve().out == out
    assert resolve(subtitles="srt").out == out
    assert resolve(provider="local").out == out
    assert resolve(provider="local", model="pocketsphinx", params={"diarize": False}).out == out
    assert resolve().choice.describe() is None


async def test_a_new_key_changes_no_bound_out(monkeypatch: pytest.MonkeyPatch) -> None:
    out = await bind(resolve())
    monkeypatch.setenv("TOGETHER_API_KEY", "of-nobody")
    again = resolve()
    assert (again.out, again.provider.name) == (out, "local")
    assert again.choice.describe() == "kept from OUT's earlier runs: provider local"


async def test_a_better_recogniser_that_came_later_changes_no_bound_out(monkeypatch: pytest.MonkeyPatch) -> None:
    out = await bind(resolve())
    monkeypatch.setenv("MEDIAMILL_ASR_ENGINE", "whisper")
    again = resolve()
    assert (again.out, again.model) == (out, "pocketsphinx")
    assert again.choice.describe() == "kept from OUT's earlier runs: model pocketsphinx"


async def test_what_an_out_was_made_with_is_kept_and_told() -> None:
    out = await bind(resolve(params={"language": "en", "words": False}))
    again = resolve()
    assert (again.out, again.params.language, again.params.words) == (out, "en", False)
    assert again.choice.describe() == "kept from OUT's earlier runs: language en, words off"
    assert resolve(params={"language": "en"}).params.words is False


async def test_files_beside_the_sources_have_the_formats_that_out_has() -> None:
    out = await bind(resolve(subtitles="srt,vtt"))
    for fields in ({"beside": True}, {"skip_existing": True}, {"beside": True, "out": str(out)}):
        sidecars = resolve(**fields).sidecars
        assert sidecars is not None
        assert list(sidecars.list_paths("a.wav")) == ["srt", "vtt"]
    named = resolve(beside=True, subtitles="json").sidecars
    assert named is not None
    assert list(named.list_paths("a.wav")) == ["json"]


@pytest.mark.parametrize(
    ("fields", "end", "words"),
    [
        ({"provider": "together"}, "-together", "provider together"),
        ({"params": {"language": "de"}}, "-language-de", "language de"),
        ({"params": {"diarize": True, "language": "de"}}, "-language-de-diarize", "language de, diarize on"),
        ({"model": "whisper"}, "-whisper", "model whisper"),
        (
            {"provider": "together", "model": "nvidia/parakeet-tdt-0.6b-v3"},
            "-together-parakeet-tdt-0.6b-v3",
            "provider together, model nvidia/parakeet-tdt-0.6b-v3",
        ),
    ],
)
async def test_a_job_that_names_something_else_gets_an_out_whose_name_says_what(
    fields: dict[str, Any], end: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", "of-nobody")
    await bind(resolve(provider="local"))
    fields = {"provider": "local", **fields}
    own = resolve(**fields)
    assert get_name(own) == end
    told = str(own.choice.describe())
    assert told.startswith(f"an OUT of its own for {words}, as {get_base()} has ")
    await bind(own)
    assert get_name(resolve(**fields)) == end
    assert get_name(resolve(provider="local")) == ""


async def test_an_own_out_keeps_its_provider_whatever_keys_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    await bind(resolve())
    own = await bind(resolve(params={"language": "de"}))
    monkeypatch.setenv("TOGETHER_API_KEY", "of-nobody")
    again = resolve(params={"language": "de"})
    assert (again.out, again.provider.name) == (own, "local")
    new = resolve(params={"language": "fr"})
    assert (get_name(new), new.provider.name) == ("-language-fr", "local")
    assert "kept from OUT's earlier runs: provider local" in str(new.choice.describe())


async def test_a_long_text_is_named_by_its_hash_and_another_text_is_another_out() -> None:
    def caption(prompt: str | None = None) -> ResolvedJob:
        return resolve(capability="caption", params={} if prompt is None else {"prompt": prompt})

    await bind(caption())
    names = {(await bind(caption(f"Say what this picture shows, in {n} words."))).name for n in range(4)}
    assert len(names) == 4
    assert all(len(name.rpartition("prompt-")[2]) == 6 for name in names)
    assert caption().choice.describe() is None


async def test_an_out_that_is_named_and_was_made_otherwise_is_refused_with_both_side_by_side() -> None:
    await bind(resolve(out="here", params={"language": "en"}))
    for fields, before, now in (
        ({"provider": "together"}, "provider local", "provider together"),
        ({"params": {"language": "de"}}, "language en", "language de"),
    ):
        environ_fields = {"base_url": "http://127.0.0.1:9"} if "provider" in fields else {}
        job = resolve(out="here", **fields, **environ_fields)
        with pytest.raises(UsageError) as refused:
            job.refuse_another_out()
        assert f"was made with {before}, and this job names {now}" in refused.value.message
        for way in ("leave that out", "--out here-", "--replace"):
            assert way in str(refused.value.hint)
        resolve(out="here", replace=True, **fields, **environ_fields).refuse_another_out()
    resolve(out="here").refuse_another_out()


async def test_replace_changes_the_default_out_itself_and_keeps_no_parameter() -> None:
    out = await bind(resolve(params={"language": "en"}))
    again = resolve(replace=True)
    assert (again.out, again.params.language) == (out, "auto")


async def test_a_rehearsal_and_the_provider_itself_are_two_things(monkeypatch: pytest.MonkeyPatch) -> None:
    rehearsed = await bind(resolve(provider="together", base_url="http://127.0.0.1:9000/together/v1"))
    assert resolve(provider="together", base_url="http://localhost:9001/together/v1").out == rehearsed
    assert resolve(model="openai/whisper-large-v3").out == rehearsed
    monkeypatch.setenv("TOGETHER_API_KEY", "of-nobody")
    told = resolve().choice.describe()
    assert told == "kept from OUT's earlier runs: address http://127.0.0.1:9000/together/v1"
    real = resolve(provider="together")
    assert get_name(real) == "-own-address"
    assert real.provider.endpoint.origin == "https://api.together.ai"


async def test_a_permission_is_never_kept() -> None:
    await bind(resolve(capability="execute", params={"allow_local_code": True}))
    with pytest.raises(UsageError, match="allow"):
        resolve(capability="execute")


async def test_a_schema_is_kept_as_it_was_when_its_file_is_another_now(tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps({"type": "object", "properties": {"a": {"type": "string"}}}))
    out = await bind(resolve(capability="caption", params={"json_schema": str(schema)}))
    assert resolve(capability="caption", params={"json_schema": str(schema)}).out == out
    schema.write_text(json.dumps({"type": "object", "properties": {"b": {"type": "string"}}}))
    again = resolve(capability="caption")
    assert (again.out, list(again.params.json_schema["properties"])) == (out, ["a"])
    assert resolve(capability="caption", params={"json_schema": str(schema)}).out != out


async def test_two_values_of_one_name_are_two_outs() -> None:
    await bind(resolve())
    first = await bind(resolve(params={"prompt": "a b"}))
    second = await bind(resolve(params={"prompt": "a-b"}))
    assert first != second
    assert resolve(params={"prompt": "a b"}).out == first
    assert resolve(params={"prompt": "a-b"}).out == second


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    (tmp_path / "texts.csv").write_text("text\na stone\na garden\n")

    def run_command(*arguments: str, **environment: str) -> tuple[int, str, str]:
        done = mediamill(*arguments, home=tmp_path / "home", env={"TOGETHER_API_KEY": "", **environment})
        return done.returncode, done.stdout, done.stderr

    return run_command


@pytest.mark.long
def test_the_first_line_says_which_out_and_why(run: Callable[..., tuple[int, str, str]]) -> None:
    assert run("embed", "texts.csv")[0] == 0
    code, _, errors = run("embed", "texts.csv", "--set", "dimensions=8")
    assert code == 0, errors
    first_line = errors.splitlines()[0]
    assert "-dimensions-8 (an OUT of its own for dimensions 8, as data/results/embed-texts.csv-" in first_line
    code, out, errors = run("embed", "texts.csv", "--set", "dimensions=8")
    assert (code, "2 unchanged" in out) == (0, True), errors


@pytest.mark.long
def test_a_quote_for_something_else_prices_all_and_says_what_the_run_does(
    run: Callable[..., tuple[int, str, str]],
) -> None:
    assert run("embed", "texts.csv", "--out", "here")[0] == 0
    key = {"OPENAI_API_KEY": "of-nobody"}

    def quote(*options: str) -> dict[str, Any]:
        code, out, errors = run("embed", "texts.csv", "--quote", "--json", *options, **key)
        assert code == 0, errors
        quoted: dict[str, Any] = json.loads(out)
        return quoted

    same, other = quote("--out", "here"), quote("--out", "here", "--provider", "openai")
    assert (same["finished"], same["out_use"], same["provider"]) == (2, "continued", "local")
    assert (other["finished"], other["out_use"]) == (0, "refused")
    assert "provider local" in other["out_note"]
    assert quote("--out", "here", "--provider", "openai", "--replace")["out_use"] == "replaced"
    assert quote("--provider", "openai")["out_use"] == "new"
    code, _, errors = run("embed", "texts.csv", "--out", "here", "--provider", "openai", "--yes", **key)
    assert code == 2
    assert errors.startswith("mediamill: "), "it is refused before anything else is said"
    assert "was made with provider local, and this job names provider openai" in errors


def test_a_journal_whose_tables_a_full_disk_cut_off_is_begun_again() -> None:
    folder = resolve().out / ".journal"
    folder.mkdir(parents=True)
    (folder / "journal.sqlite").touch()
    assert get_name(resolve()) == ""
