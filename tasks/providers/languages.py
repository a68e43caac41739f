"""Language names, as some providers spell them, to ISO-639-1 codes."""

from __future__ import annotations

from typing import Any

_CODES = (
    "af:afrikaans am:amharic ar:arabic as:assamese az:azerbaijani ba:bashkir be:belarusian bg:bulgarian bn:bengali "
    "bo:tibetan br:breton bs:bosnian ca:catalan cs:czech cy:welsh da:danish de:german el:greek en:english es:spanish "
    "et:estonian eu:basque fa:persian fi:finnish fo:faroese fr:french gl:galician gu:gujarati ha:hausa he:hebrew "
    "hi:hindi hr:croatian ht:haitian hu:hungarian hy:armenian id:indonesian is:icelandic it:italian ja:japanese "
    "jv:javanese ka:georgian kk:kazakh km:khmer kn:kannada ko:korean la:latin lb:luxembourgish ln:lingala lo:lao "
    "lt:lithuanian lv:latvian mg:malagasy mi:maori mk:macedonian ml:malayalam mn:mongolian mr:marathi ms:malay "
    "mt:maltese my:myanmar ne:nepali nl:dutch nn:nynorsk no:norwegian oc:occitan pa:punjabi pl:polish ps:pashto "
    "pt:portuguese ro:romanian ru:russian sa:sanskrit sd:sindhi si:sinhala sk:slovak sl:slovenian sn:shona so:somali "
    "sq:albanian sr:serbian su:sundanese sv:swedish sw:swahili ta:tamil te:telugu tg:tajik th:thai tk:turkmen "
    "tl:tagalog tr:turkish tt:tatar uk:ukrainian ur:urdu uz:uzbek vi:vietnamese yi:yiddish yo:yoruba zh:chinese"
)
_OTHER = {
    "bokmål": "no", "burmese": "my", "cantonese": "yue", "castilian": "es", "farsi": "fa", "flemish": "nl",
    "haitian creole": "ht", "hawaiian": "haw", "javanese": "jv", "jw": "jv", "letzeburgesch": "lb", "mandarin": "zh",
    "moldavian": "ro", "moldovan": "ro", "panjabi": "pa", "pushto": "ps", "sinhalese": "si", "valencian": "ca",
}  # fmt: skip
_NONE = frozenset({"und", "mis", "mul", "zxx", "unk"})
"""ISO-639 codes that stand for no one language."""

_BY_NAME = {name: code for code, name in (pair.split(":") for pair in _CODES.split())} | _OTHER
_KNOWN = set(_BY_NAME.values())


def iso_code(language: Any) -> str | None:
    """``en`` from ``english``, ``EN`` or ``en-US``; None when no language is told."""
    if not isinstance(language, str):
        return None
    text = language.strip().lower()
    if text in _BY_NAME:
        return _BY_NAME[text]
    code = text.split("-")[0].split("_")[0]
    if code in _NONE or not code.isascii():
        return None
    return code if code in _KNOWN or (code.isalpha() and len(code) in (2, 3)) else None
