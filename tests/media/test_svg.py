"""SVG of others: pictures stay pictures, and nothing in them runs or loads anything."""

from __future__ import annotations

import contextlib
import re
import time

import pytest

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.svg import MAX_SVG_BYTES, clean_svg

NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
HOSTILE = [
    "<script>alert(1)</script>",
    "<script href='data:text/javascript,alert(1)'/>",
    "<rect onclick='alert(1)' onload='alert(1)' width='1'/>",
    "<foreignObject><p xmlns='http://www.w3.org/1999/xhtml'><img src='x' onerror='alert(1)'/></p></foreignObject>",
    "<a href='javascript:alert(1)'><text>x</text></a>",
    "<a xlink:href='JaVaScRiPt:alert(1)'><text>x</text></a>",
    "<a href='&#106;avascript:alert(1)'><text>x</text></a>",
    "<image href='https://evil.example/x.png'/>",
    "<image href='//evil.example/x.png'/>",
    "<image href='file:///etc/passwd'/>",
    "<image href='data:image/svg+xml;base64,PHN2Zz4='/>",
    "<use xlink:href='https://evil.example/x.svg#a'/>",
    "<style>@import url(https://evil.example/x.css);</style>",
    "<style>@import 'https://evil.example/x.css';</style>",
    "<style>rect { fill: url(https://evil.example/x) }</style>",
    r"<style>rect { fill: u\72l(https://evil.example/x) }</style>",
    "<rect style='fill: url(https://evil.example/x)'/>",
    r"<rect style='fill: \75rl(https://evil.example/x)'/>",
    "<rect filter='url(https://evil.example/x)'/>",
    "<set attributeName='href' to='javascript:alert(1)'/>",
    "<animate attributeName='xlink:href' values='javascript:alert(1)'/>",
    "<iframe src='https://evil.example'/><embed src='x'/><object data='x'/>",
    "<h:script xmlns:h='http://www.w3.org/1999/xhtml'>alert(1)</h:script>",
]
RUNS_OR_LOADS = re.compile(
    rb"<(\w+:)?(script|foreignobject|iframe|embed|object|body|handler)|\son\w+\s*=|attributeName=\"[^\"]*href"
    rb"|(href|src)\s*=\s*[\"'](?!#|data:image/png)|url\(\s*['\"]?(?!#)|@import|evil\.example/x\.(png|svg)",
    re.IGNORECASE,
)


def make_svg(content: str, prolog: str = "") -> bytes:
    return f"{prolog}<svg {NAMESPACES} width='9' height='9'>{content}<circle r='4'/></svg>".encode()


@pytest.mark.parametrize("content", HOSTILE)
def test_nothing_is_left_that_runs_or_loads(content: str) -> None:
    cleaned = None
    with contextlib.suppress(BadInput):
        cleaned = clean_svg(make_svg(content))
    if cleaned is not None:
        assert b"<circle" in cleaned
    assert not RUNS_OR_LOADS.search(cleaned or b""), cleaned


def test_a_plot_stays_as_it_is() -> None:
    content = (
        "<defs><style type='text/css'>*{stroke-linejoin: round}</style><path id='p' d='M 0 0 L 1 1'/></defs>"
        "<g clip-path='url(#c)'><use xlink:href='#p' style='stroke: #000'/><text>a &amp; b é</text></g>"
        "<image href='data:image/png;base64,iVBORw0KGgo='/>"
    )
    cleaned = clean_svg(make_svg(content, "<?xml version='1.0'?><!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN' 'x'>"))
    for kept in ("stroke-linejoin: round", 'href="#p"', "url(#c)", "a &amp; b é", "data:image/png;base64,iVBORw0KGgo="):
        assert kept.encode() in cleaned
    assert clean_svg(cleaned) == cleaned
    assert b"DTD" not in cleaned


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not an SVG"),
        (b"<html/>", "not an SVG"),
        (b"<svg", "not an SVG"),
        (make_svg("<text>&a;</text>", "<!DOCTYPE svg [<!ENTITY a 'x'>]>"), "entities"),
        (make_svg("<text>&a;</text>", "<!DOCTYPE svg [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>"), "entities"),
        (make_svg("<g>" * 300 + "</g>" * 300), "more than 200"),
        (make_svg("<g>" * 1_000_000), "more than 200"),
        (make_svg("x" * MAX_SVG_BYTES), "larger than"),
    ],
    ids=["empty", "html", "torn", "entity", "external entity", "deep", "deep and torn", "large"],
)
def test_what_is_no_plain_picture_is_refused_at_once(data: bytes, reason: str) -> None:
    began = time.process_time()
    with pytest.raises(BadInput, match=reason):
        clean_svg(data)
    assert time.process_time() - began < 1
