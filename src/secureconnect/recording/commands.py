"""What janus-pp-rec, ffprobe and ffmpeg are told, to make a film of tracks. Pure: values in, arguments out.

Used by `recording.compose`, which runs them. Every file name is one of ours and relative; ffmpeg reads local files alone, in the
format and with the decoder that we know the track to have, so nothing that a participant sent chooses a parser. Options are those
of ffmpeg 5.1.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from secureconnect.recording import Track
from secureconnect.recording.layout import FRAMES_PER_SECOND, HEIGHT, WIDTH, Scene, Tile
from secureconnect.signaling.sfu_frames import Source

SAMPLE_RATE = 48_000
WARM_UP_SECONDS = 1.0
"""So much before its window a sound is decoded: Opus and the limiter are settled when it begins, and nobody hears where windows
meet."""
MAX_PIXELS = 4096 * 2304
"""Of a picture; a key frame may claim 16383x16383, and the decoder would take the memory."""
PAUSE_SECONDS = {Source.MICROPHONE: 15.0, Source.CAMERA: 3.0, Source.SCREEN: 15.0}
"""Nothing for so long: it was switched off. A screen on which nothing moves sends a frame now and then."""
EXTENSIONS = {"opus": "mka", "vp8": "webm", "vp9": "webm", "h264": "mp4"}
"""What janus-pp-rec puts a codec in, as it came. Opus in Matroska: in Ogg, what is said before a pause would come late, as pages
have one time."""

CONVERT = ("janus-pp-rec", "--debug-level=2", "--disable-colors")
RESTAMP = ("--restamp=1500", "--restamp-min-th=2000")
"""A machine that sleeps goes on where it stopped, by its RTP time. Sound that comes over two seconds late by it is put where it
came."""
FFMPEG = ("ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-y")
X264 = (
    "-c:v",
    "libx264",
    "-preset",
    "veryfast",
    "-crf",
    "26",
    "-g",
    str(5 * FRAMES_PER_SECOND),
    "-threads",
    "2",
    "-pix_fmt",
    "yuv420p",
)
AAC = ("-c:a", "aac", "-b:a", "128k", "-ac", "2", "-ar", str(SAMPLE_RATE))
CLEAN = ("-map_metadata", "-1", "-map_chapters", "-1")


class Clip(Struct, frozen=True):
    """A converted track: `name` is its file in the scratch folder, `began` where its own time begins, in seconds of the film.

    `stretches`: from when to when something came, in seconds of the film too.
    """

    track: Track
    name: str
    began: float
    stretches: tuple[tuple[float, float], ...]


def convert(track: Track, name: str) -> list[str]:
    """Take the media out of the recording on stdin."""
    return [*CONVERT, *(RESTAMP if track.kind == "audio" else ()), "/dev/stdin", name]


def list_packets(track: Track, name: str) -> list[str]:
    """Write the time of every packet, one per line, seconds."""
    show = ("-select_streams", "0", "-show_entries", "packet=pts_time", "-of", "csv=p=0")
    return ["ffprobe", "-loglevel", "error", *_read_as(track), *show, f"file:{name}"]


def draw(scene: Scene, clips: Iterable[Clip], name: str) -> list[str]:
    """Make the picture of a scene; a tile whose track is not among `clips` stays black.

    Reading begins at the last key frame before the scene, so that a picture that stands still is there from its first frame on;
    what is older than a pause is not drawn. A picture that comes later is there from the beginning too, still, rather than black.
    """
    known = {clip.track: clip for clip in clips}
    tiles = [tile for tile in scene.tiles if tile.track in known]
    inputs: list[str] = []
    graph = [f"color=black:s={WIDTH}x{HEIGHT}:r={FRAMES_PER_SECOND},format=yuv420p[canvas0]"]
    for index, tile in enumerate(tiles):
        clip = known[tile.track]
        inputs += ["-noaccurate_seek", "-reinit_filter", "0", "-max_pixels", str(MAX_PIXELS), *_read_from(clip, scene.begin)]
        graph.append(f"[{index}:v:0]{_fitted(tile, scene.end - scene.begin)}[tile{index}]")
        graph.append(f"[canvas{index}][tile{index}]overlay={tile.x}:{tile.y}:eof_action=repeat[canvas{index + 1}]")
    shown = ("-map", f"[canvas{len(tiles)}]", "-frames:v", str(scene.frames))
    return [*FFMPEG, *inputs, "-filter_complex", ";".join(graph), *shown, *X264, *CLEAN, "-f", "mp4", f"file:{name}"]


def _fitted(tile: Tile, seconds: float) -> str:
    """A picture as its tile shows it: whole, in its proportions, which may change, in the middle of black."""
    return ",".join(
        (
            f"trim=start=-{PAUSE_SECONDS[tile.track.source] + 1}:end={seconds}",
            f"scale={tile.width}:{tile.height}:force_original_aspect_ratio=decrease:force_divisible_by=2:eval=frame",
            f"pad={tile.width}:{tile.height}:-1:-1:eval=frame,setsar=1,format=yuv420p",
            # Not the fps filter: it makes all frames of a gap at once, in memory. The canvas beneath has the rate.
            "setpts='if(N,PTS,min(PTS,0))'",
        )
    )


def mix(begin: float, end: float, clips: Sequence[Clip], name: str) -> list[str]:
    """Make the sound of the film from `begin` to `end`, seconds: everybody's at the same time, limited where it is too loud, as
    FLAC."""
    warm_up = min(WARM_UP_SECONDS, begin)
    start, seconds = begin - warm_up, end - begin + warm_up
    inputs: list[str] = []
    graph = [f"anullsrc=r={SAMPLE_RATE}:cl=stereo,atrim=end={seconds:.6f}[silence]"]
    for index, clip in enumerate(clips):
        inputs += _read_from(clip, start)
        # Cut first: a gap that leads out of the window would be filled to its end, in memory.
        steps = f"atrim=end={seconds:.6f},aresample={SAMPLE_RATE}:async=1:first_pts=0,aformat=fltp:{SAMPLE_RATE}:stereo"
        graph.append(f"[{index}:a:0]{steps}[sound{index}]")
    sounds = "".join(f"[sound{index}]" for index in range(len(clips)))
    mixed = f"[silence]{sounds}amix=inputs={len(clips) + 1}:duration=first:normalize=0"
    graph.append(f"{mixed},alimiter=level=disabled,atrim=start={warm_up:.6f},asetpts=PTS-STARTPTS[mix]")
    kept = ("-map", "[mix]", "-c:a", "flac", "-sample_fmt", "s16", *CLEAN, "-f", "flac")
    return [*FFMPEG, *inputs, "-filter_complex", ";".join(graph), *kept, f"file:{name}"]


def playlist(pieces: Iterable[tuple[str, float]]) -> bytes:
    """The files of that name and length in seconds, one after the other. https://ffmpeg.org/ffmpeg-formats.html#concat"""
    return "".join(["ffconcat version 1.0\n", *(f"file {name}\nduration {seconds:.6f}\n" for name, seconds in pieces)]).encode()


def join(pictures: str | None, sounds: str, name: str) -> list[str]:
    """Make the film of two playlists, without pictures when nobody had one; what is needed to play it stands in front."""
    local = ("-protocol_whitelist", "file", "-f", "concat")
    inputs = [argument for playlist in (sounds, pictures) if playlist for argument in (*local, "-i", f"file:{playlist}")]
    maps = (
        ("-map", "1:v:0", "-c:v", "copy", "-map", "0:a:0")
        if pictures
        else (
            "-map",
            "0:a:0",
        )
    )
    return [*FFMPEG, *inputs, *maps, *AAC, *CLEAN, "-movflags", "+faststart", "-f", "mp4", f"file:{name}"]


def _read_from(clip: Clip, at: float) -> list[str]:
    """An input whose time 0 is that of the film at `at`."""
    ahead = at - clip.began
    place = ("-ss", f"{ahead:.6f}") if ahead > 0 else ("-itsoffset", f"{abs(ahead):.6f}")
    return ["-threads", "1", *place, *_read_as(clip.track), f"-c:{clip.track.kind[0]}", clip.track.codec, "-i", f"file:{clip.name}"]


def _read_as(track: Track) -> tuple[str, ...]:
    return ("-protocol_whitelist", "file", "-f", "mov" if EXTENSIONS[track.codec] == "mp4" else "matroska")
