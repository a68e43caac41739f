"""ISO-639-1 codes of languages, from the names and codes that providers use.

The code is sent and is part of the request key, so it must not change. The library ``langcodes`` (3.5.1) would change
some (``fil`` and ``nb`` for ``tl`` and ``no``), and knows names only with 21 MB of additional data.
"""

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
_OTHER_NAMES = {
    "bokmål": "no", "burmese": "my", "cantonese": "yue", "castilian": "es", "farsi": "fa", "flemish": "nl",
    "haitian creole": "ht", "hawaiian": "haw", "javanese": "jv", "jw": "jv", "letzeburgesch": "lb", "mandarin": "zh",
    "moldavian": "ro", "moldovan": "ro", "panjabi": "pa", "pushto": "ps", "sinhalese": "si", "valencian": "ca",
}  # fmt: skip
_LONG_CODES = (
    "afr:af ara:ar bel:be ben:bn bul:bg cat:ca ces:cs cze:cs cym:cy dan:da deu:de ger:de ell:el gre:el eng:en est:et "
    "eus:eu baq:eu fas:fa per:fa fin:fi fra:fr fre:fr glg:gl heb:he hin:hi hrv:hr hun:hu hye:hy arm:hy ind:id isl:is "
    "ice:is ita:it jpn:ja kan:kn kat:ka geo:ka kaz:kk khm:km kor:ko lat:la lav:lv lit:lt mal:ml mar:mr mkd:mk mac:mk "
    "msa:ms may:ms mya:my bur:my nep:ne nld:nl dut:nl nob:no nor:no pan:pa pol:pl por:pt ron:ro rum:ro rus:ru slk:sk "
    "slo:sk slv:sl som:so spa:es sqi:sq alb:sq srp:sr swa:sw swe:sv tam:ta tel:te tgl:tl fil:tl tha:th tur:tr ukr:uk "
    "urd:ur uzb:uz vie:vi yid:yi yor:yo zho:zh chi:zh cmn:zh iw:he in:id ji:yi"
)
"""ISO-639-2 and -3 codes, and outdated two-letter codes, of languages that have an ISO-639-1 code."""
_NO_LANGUAGE = frozenset({"und", "mis", "mul", "zxx", "unk"})
"""ISO-639 codes that do not stand for one language."""

_BY_NAME = {name: code for code, name in (pair.split(":") for pair in _CODES.split())} | _OTHER_NAMES
_KNOWN_CODES = set(_BY_NAME.values())
_SHORT_CODES = dict(pair.split(":") for pair in _LONG_CODES.split())


def to_iso_code(language: Any) -> str | None:
    """``en`` from ``english``, ``EN``, ``eng`` or ``en-US``; None for anything that is not a language."""
    if not isinstance(language, str):
        return None
    text = language.strip().lower()
    if text in _BY_NAME:
        return _BY_NAME[text]
    code = text.split("-")[0].split("_")[0]
    code = _SHORT_CODES.get(code, code)
    if code in _NO_LANGUAGE or not code.isascii():
        return None
    return code if code in _KNOWN_CODES or (code.isalpha() and len(code) in (2, 3)) else None
