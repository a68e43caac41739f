"""Examples of each command, as its help and the reference show them: the line, and what it does."""

from __future__ import annotations

from collections.abc import Mapping

Example = tuple[str, str]

EXAMPLES: Mapping[str, tuple[Example, ...]] = {
    "transcribe": (
        ("mediamill transcribe recordings/", "free, with the built-in provider, where no key is set"),
        ("mediamill transcribe calls.csv --provider groq --budget 5", "at most 5 USD; the manifest names the files"),
        ("mediamill transcribe talks/ --language de --subtitles srt,vtt -o talks-out", "German, with subtitle files"),
    ),
    "translate": (
        ("mediamill translate recordings/ --provider together --budget 5", "into English"),
        ("mediamill translate recordings/ --provider together --to de -y", "into German, without a limit on the cost"),
    ),
    "speak": (
        ("mediamill speak texts.csv --format mp3", "an audio file for each row's text"),
        ("mediamill speak texts.csv --provider openai --voice nova --budget 5", "with a voice of the provider"),
    ),
    "caption": (
        ("mediamill caption photos/ --provider together --budget 5", "a caption for each picture"),
        ("mediamill caption shop.csv --prompt 'Describe this {{ product }}.' -n 10", "a template; the first ten rows"),
        ("mediamill caption photos/ --schema attributes.json -o attributes", "answers as typed columns"),
    ),
    "ocr": (
        ("mediamill ocr scans/", "the text of each page, free, with the built-in provider (extra ocr)"),
        ("mediamill ocr receipts/ --beside --min-confidence 0.8", "as NAME.txt beside each, surely read lines alone"),
    ),
    "describe-video": (
        ("mediamill describe-video clips/ --frames 8 --with-audio", "eight frames, and what is said"),
        ("mediamill describe-video clips/ --every 10 --budget 5", "a frame every 10 seconds"),
    ),
    "complete": (
        ("mediamill complete prompts.csv", "an answer to each row's prompt"),
        ("mediamill complete rows.csv --prompt 'Sum up: {{ text }}' --schema answer.json -y", "checked by a schema"),
    ),
    "rerank": (
        ("mediamill rerank questions.jsonl --provider cohere --top-n 5", "columns query and documents"),
        ("mediamill rerank questions.csv --corpus corpus.jsonl", "the same documents for every query"),
    ),
    "embed": (("mediamill embed texts.csv --provider openai --budget 1", "a vector for each row's text"),),
    "generate-image": (
        ("mediamill generate-image prompts.csv --size 1024x1024 --n 4", "four images for each prompt"),
        ("mediamill generate-image prompts.csv --provider together --quote", "what it would cost"),
    ),
    "generate-video": (
        ("mediamill generate-video prompts.csv --preview --budget 20", "small and cheap versions first"),
        ("mediamill retry OUT --promote", "the full version of each preview whose file you left there"),
    ),
    "execute": (("mediamill execute cells.csv --provider together", "rows with the same session share variables"),),
    "run": (
        ("mediamill run job.yaml", "the job in a file; `mediamill init` writes one to fill in"),
        ("mediamill run recipe:alt-text photos/ --budget 5", "a ready job, on files of your own"),
        ("mediamill run --schema", "the JSON Schema of job files, for editors"),
        ("mediamill run --deployed nightly", "a deployment, on its worker"),
    ),
    "quote": (
        ("mediamill quote recordings/ --provider together", "of transcribing them"),
        ("mediamill quote caption photos/ --provider together", "of another capability"),
        ("mediamill quote recipe:alt-text photos/", "of a ready job, or of a job file"),
    ),
    "samples": (("mediamill samples samples", "then mediamill transcribe samples/recordings"),),
    "recipes": (
        ("mediamill recipes", "each with what it does"),
        ("mediamill recipes alt-text", "its file, as a start for one of your own"),
    ),
    "init": (
        ("mediamill init", "job.yaml, a transcription"),
        ("mediamill init captions.yaml --capability caption", "of another capability"),
    ),
    "retry": (
        ("mediamill retry OUT", "every failed item"),
        ("mediamill retry OUT --only timeout --model OTHER", "one kind of failure, with another model"),
        ("mediamill retry OUT --only unknown --budget 5", "requests that may have been billed, paid for again"),
    ),
    "list": (("mediamill list", "the OUTs in data/results and in the working folder"),),
    "status": (("mediamill status OUT", "done, failed, spent; --json for programs"),),
    "explain": (
        ("mediamill explain OUT photo-17.jpg", "by an id, a file name or words of its row"),
        ("mediamill explain OUT '#12'", "by its position, from 0"),
    ),
    "settle": (("mediamill settle OUT --billed 0.0123", "what the provider's usage page says, in USD"),),
    "report": (("mediamill report OUT --verify", "check every file, and mend what can be mended"),),
    "export": (("mediamill export OUT --to results.csv", "or .jsonl, or .parquet"),),
    "serve": (
        ("mediamill serve --engine echo --latency 400ms --rpm 600 --fail 0.05 --port 9000", "a rehearsal with faults"),
        (
            "mediamill transcribe recordings/ --provider together --base-url http://127.0.0.1:9000/together/v1 -y",
            "a run against it",
        ),
    ),
    "models": (
        ("mediamill models --provider together", "its models with their prices in USD"),
        ("mediamill models --voices", "the voices of speech models"),
    ),
    "up": (
        ("mediamill up --worker --open", "server, worker, and the UI in the browser"),
        ('eval "$(mediamill up --print-env)"', "for Prefect's own commands in this shell"),
    ),
    "down": (("mediamill down", "all of it, within 30 seconds; the next run goes on with what was left"),),
    "deploy": (("mediamill deploy configs/jobs/nightly.yaml", "with the schedule in the file"),),
    "doctor": (("mediamill doctor", "each finding says what to do"),),
    "completion": (
        ('eval "$(mediamill completion bash)"', "now; the same line in ~/.bashrc for every shell, zsh: ~/.zshrc"),
        ("mediamill completion fish > ~/.config/fish/completions/mediamill.fish", "for fish"),
    ),
}
"""By the command's name."""
