"""Make data/samples/pictures and data/samples/videos again: drawn, not photographed.

Needs only the project's own environment: ``uv run python data/samples/make_pictures.py``.
"""

from __future__ import annotations

import csv
import math
import zlib
from pathlib import Path

import av
import numpy as np
import pillow_heif
from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).parent
PICTURES = HERE / "pictures"
VIDEOS = HERE / "videos"
BROKEN = HERE / "broken"
LISTED_IMAGES = [
    ("house.jpg", "bird house", "garden"),
    ("badge.webp", "enamel badge", "gifts"),
    ("page.png", "sign", "office"),
]
SKY, GRASS, SUN, WALL, ROOF = (150, 200, 240), (80, 160, 70), (250, 210, 60), (225, 205, 170), (180, 60, 40)


def draw_house(width: int = 480, height: int = 360, sun: float = 0.8) -> Image.Image:
    """Draw a house on a meadow; ``sun`` is where the sun stands, 0 left to 1 right."""
    image = Image.new("RGB", (width, height), SKY)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, height * 2 // 3, width, height), GRASS)
    x, y = round(width * sun), round(height * (0.45 - 0.3 * math.sin(sun * math.pi)))
    draw.ellipse((x - 25, y - 25, x + 25, y + 25), SUN)
    left, top, right, bottom = width // 3, height // 2, width * 2 // 3, height * 5 // 6
    draw.rectangle((left, top, right, bottom), WALL)
    draw.polygon([(left - 15, top), (right + 15, top), ((left + right) // 2, top - height // 5)], ROOF)
    draw.rectangle((left + 25, bottom - 60, left + 55, bottom), (100, 60, 30))
    draw.rectangle((right - 60, top + 20, right - 25, top + 50), (190, 220, 240))
    return image


def draw_page() -> Image.Image:
    """Draw a page of text."""
    image = Image.new("L", (520, 300), 255)
    draw = ImageDraw.Draw(image)
    lines = ["Opening hours", "", "Monday to Friday: 9 to 18", "Saturday: 10 to 14", "Sunday: closed"]
    for number, line in enumerate(lines):
        draw.text((30, 30 + number * 45), line, 0, font=ImageFont.load_default(28 if number else 36))
    return image


def make_pictures() -> None:
    """Eight pictures in eight formats, each odd in its own way."""
    PICTURES.mkdir(exist_ok=True)
    home = draw_house()
    home.save(PICTURES / "house.jpg", quality=85)
    sideways = Image.Exif()
    sideways[0x0112] = 6
    home.rotate(90, expand=True).save(PICTURES / "sideways.jpg", quality=85, exif=sideways)
    draw_page().save(PICTURES / "page.png")
    badge = Image.new("RGBA", (256, 256), (0, 0, 0, 0))
    ImageDraw.Draw(badge).ellipse((28, 28, 228, 228), (40, 70, 200, 255))
    badge.save(PICTURES / "badge.webp", lossless=True)
    frames = [draw_house(240, 180, n / 7) for n in range(8)]
    frames[0].save(PICTURES / "morning.gif", save_all=True, append_images=frames[1:], duration=200, loop=0)
    ramp = np.tile(np.linspace(0, 65535, 300, dtype=np.uint16), (200, 1))
    Image.fromarray(ramp).save(PICTURES / "ramp16.tif", compression="tiff_deflate")
    home.convert("CMYK").save(PICTURES / "print.jpg", quality=80)
    pillow_heif.from_pillow(home).save(PICTURES / "phone.heic", quality=60)
    with (HERE / "pictures.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["id", "path", "product", "shelf"])
        for number, (name, product, shelf) in enumerate(LISTED_IMAGES, 1):
            rows.writerow([f"p{number}", f"pictures/{name}", product, shelf])


def make_broken() -> None:
    """Pictures as they are commonly broken."""
    whole = (PICTURES / "house.jpg").read_bytes()
    (BROKEN / "cut-off.jpg").write_bytes(whole[: len(whole) // 2])
    header = (PICTURES / "page.png").read_bytes()
    claim = header[12:16] + (60_000).to_bytes(4, "big") * 2 + header[24:29]
    (BROKEN / "enormous.png").write_bytes(header[:12] + claim + zlib.crc32(claim).to_bytes(4, "big") + header[33:])
    (BROKEN / "text.jpg").write_text("This is not a picture.\n")


def make_video() -> None:
    """Six seconds of a sun crossing the sky, then the page, while a sentence is spoken: one scene change."""
    VIDEOS.mkdir(exist_ok=True)
    spoken = str(HERE / "recordings" / "friends.wav")
    with av.open(str(VIDEOS / "day.mp4"), "w") as container, av.open(spoken) as recording:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.options = {"crf": "30", "threads": "1"}
        sound = container.add_stream("aac", rate=16000)
        shown = [draw_house(320, 240, n / 39) for n in range(40)] + [draw_page().convert("RGB").resize((320, 240))] * 20
        for image in shown:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(image), format="rgb24")))
        container.mux(stream.encode())
        for frame in recording.decode(audio=0):
            container.mux(sound.encode(frame))
        container.mux(sound.encode())


if __name__ == "__main__":
    make_pictures()
    make_broken()
    make_video()
