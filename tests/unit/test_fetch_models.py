"""The fetch command against a local server that misbehaves as asked."""

from __future__ import annotations

import hashlib
import http.server
import importlib.util
import json
import re
import resource
import runpy
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import layout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

REVISION = "f" * 40
MODEL = bytes(range(256)) * 4000
CONFIG = json.dumps({"audio": {"sample_rate": 22050}}).encode()
CONTENT = {"xx/tiny.onnx": MODEL, "xx/tiny.onnx.json": CONFIG}


@dataclass
class Hub:
    """A server of two files, and how it behaves."""

    url: str = ""
    folder: str = f"/some/voices/resolve/{REVISION}/"
    contents: dict[str, bytes] = field(default_factory=CONTENT.copy)
    cut_after: list[int] = field(default_factory=list)
    """Bytes after which the next connections break."""
    corrupt: bool = False
    ranges: bool = True
    status: int | None = None
    busy: list[int] = field(default_factory=list)
    """Statuses of the next answers."""
    misplaced: bool = False
    """Goes on from the beginning, and says so."""
    loops: bool = False
    announced: str | None = None
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and `Range` of every request for a file."""

    def ranges_asked(self, path: str) -> list[str | None]:
        return [asked for name, asked in self.requests if name == path]


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path.startswith("/cdn/"):
                self.serve(self.path.removeprefix("/cdn/"))
                return
            path = self.path.removeprefix(hub.folder)
            hub.requests.append((path, self.headers["Range"]))
            # As the real hub: a redirect that announces what will come.
            self.send_response(302)
            if hub.announced is not None:
                self.send_header("X-Linked-ETag", f'"{hub.announced}"')
            self.send_header("Location", self.path if hub.loops else f"/cdn/{path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def serve(self, path: str) -> None:
            status = hub.busy.pop(0) if hub.busy else hub.status
            if status is not None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = hub.contents[path]
            if hub.corrupt:
                content = content[:-1] + bytes([content[-1] ^ 1])
            start = 0
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
            if asked and hub.ranges:
                start = 0 if hub.misplaced else int(asked[1])
                self.send_response(206)
                total = len(content)
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            rest = content[start:]
            if path.endswith((".onnx", ".pth")) and hub.cut_after:
                self.wfile.write(rest[: hub.cut_after.pop(0)])
                self.close_connection = True
                return
            self.wfile.write(rest)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield hub
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def fetch_models() -> Iterator[ModuleType]:
    path = Path(__file__).parents[2] / "scripts/fetch_models.py"
    spec = importlib.util.spec_from_file_location("fetch_models", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fetch_models"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["fetch_models"]


@dataclass
class Command:
    """The command with a catalogue of its own."""

    module: ModuleType
    catalogue: Path
    dest: Path
    pauses: list[float] = field(default_factory=list)

    def run(self, base_url: str, *arguments: str) -> int:
        common = ["--catalogue", str(self.catalogue), "--dest", str(self.dest)]
        argv = ["piper", *arguments, *common, "--base-url", base_url]
        return int(self.module.main(argv, self.pauses.append))

    @property
    def files(self) -> dict[str, bytes]:
        found = sorted(self.dest.iterdir()) if self.dest.is_dir() else []
        return {path.name: path.read_bytes() for path in found}


@pytest.fixture
def command(fetch_models: ModuleType, tmp_path: Path) -> Command:
    files = [
        {
            "path": path,
            "size_bytes": len(content),
            "md5": hashlib.md5(content, usedforsecurity=False).hexdigest(),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        for path, content in CONTENT.items()
    ]
    voice = {
        "name": "tiny",
        "display_name": "Tiny",
        "language": "en",
        "gender": None,
        "quality": "low",
        "sample_rate": 22050,
        "speakers": [],
        "licence": "CC0 1.0",
    }
    document = {
        "repository": "some/voices",
        "revision": REVISION,
        "voices": [{**voice, "name": "shipped"}, {**voice, "files": files}],
    }
    catalogue = tmp_path / "voices.json"
    catalogue.write_text(json.dumps(document), encoding="utf-8")
    return Command(fetch_models, catalogue, tmp_path / "voices")


COMPLETE = {"tiny.onnx": MODEL, "tiny.onnx.json": CONFIG}


def test_fetches_both_files_of_a_voice(command, hub):
    assert command.run(hub.url, "--voice", "tiny") == 0
    assert command.files == COMPLETE


def test_all_means_every_voice_that_is_not_shipped(command, hub):
    assert command.run(hub.url, "--all") == 0
    assert command.files == COMPLETE


def test_a_second_run_asks_for_nothing(command, hub, capsys):
    command.run(hub.url, "--all")
    hub.requests.clear()
    assert command.run(hub.url, "--all") == 0
    assert hub.requests == []
    assert "was there" in capsys.readouterr().out


def test_goes_on_where_the_connection_broke(command, hub):
    hub.cut_after = [300_000, 200_000]
    assert command.run(hub.url, "--voice", "tiny") == 0
    assert command.files == COMPLETE
    asked = hub.ranges_asked("xx/tiny.onnx")
    assert asked[0] is None
    assert all(asked[1:])
    assert len(asked) == 3


def test_goes_on_where_an_earlier_run_stopped(command, hub):
    command.dest.mkdir()
    (command.dest / "tiny.onnx.part").write_bytes(MODEL[:500_000])
    assert command.run(hub.url, "--voice", "tiny") == 0
    assert command.files == COMPLETE
    assert hub.ranges_asked("xx/tiny.onnx") == ["bytes=500000-"]


def test_a_leftover_that_is_complete_needs_no_request(command, hub):
    command.dest.mkdir()
    (command.dest / "tiny.onnx.part").write_bytes(MODEL)
    assert command.run(hub.url, "--voice", "tiny") == 0
    assert command.files == COMPLETE
    assert hub.ranges_asked("xx/tiny.onnx") == []


def test_a_server_without_ranges_starts_again(command, hub):
    hub.ranges = False
    hub.cut_after = [300_000]
    assert command.run(hub.url, "--voice", "tiny") == 0
    assert command.files == COMPLETE


def test_a_corrupt_file_never_takes_its_name(command, hub, capsys):
    hub.corrupt = True
    assert command.run(hub.url, "--voice", "tiny") == 1
    assert command.files == {}
    assert "SHA-256" in capsys.readouterr().err


def test_a_leftover_of_something_else_is_found_out_and_the_next_run_mends_it(command, hub):
    command.dest.mkdir()
    (command.dest / "tiny.onnx.part").write_bytes(b"?" * 1000)
    assert command.run(hub.url, "--voice", "tiny") == 1
    assert command.run(hub.url, "--voice", "tiny") == 0
    assert command.files == COMPLETE


def test_a_damaged_file_is_fetched_again(command, hub):
    command.run(hub.url, "--voice", "tiny")
    (command.dest / "tiny.onnx").write_bytes(MODEL[:-1] + b"?")
    assert command.run(hub.url, "--voice", "tiny") == 0
    assert command.files == COMPLETE


def test_believes_no_hub_that_announces_another_file(command, hub, capsys):
    hub.announced = "0" * 64
    assert command.run(hub.url, "--voice", "tiny") == 1
    assert command.files == {}
    assert "announces" in capsys.readouterr().err


def test_a_git_hash_in_the_announcement_is_none_of_its_business(command, hub):
    hub.announced = "0" * 40
    assert command.run(hub.url, "--voice", "tiny") == 0


def test_a_file_that_is_gone_says_so_at_once(command, hub, capsys):
    hub.status = 404
    assert command.run(hub.url, "--voice", "tiny") == 1
    assert "answered 404" in capsys.readouterr().err
    assert command.pauses == []


def test_a_hub_that_is_busy_is_asked_again(command, hub):
    hub.busy = [503, 429]
    assert command.run(hub.url, "--voice", "tiny") == 0
    assert command.files == COMPLETE
    assert command.pauses == [2.0, 4.0]


def test_a_hub_that_stays_busy_is_named(command, hub, capsys):
    hub.status = 503
    assert command.run(hub.url, "--voice", "tiny") == 1
    assert "127.0.0.1 answered 503" in capsys.readouterr().err


def test_a_part_from_another_place_is_not_put_behind_what_is_there(command, hub, capsys):
    hub.misplaced = True
    command.dest.mkdir()
    (command.dest / "tiny.onnx.part").write_bytes(MODEL[:500_000])
    assert command.run(hub.url, "--voice", "tiny") == 1
    assert "another place" in capsys.readouterr().err
    assert command.files["tiny.onnx.part"] == MODEL[:500_000]


def test_a_hub_that_sends_in_circles_is_an_error(command, hub, capsys):
    hub.loops = True
    assert command.run(hub.url, "--voice", "tiny") == 1
    assert "redirects" in capsys.readouterr().err


def test_an_address_without_a_scheme_is_refused_at_once(command, capsys):
    assert command.run("hub.example.org", "--voice", "tiny") == 1
    assert "must begin with https://" in capsys.readouterr().err
    assert command.pauses == []


def test_a_disk_without_room_is_told_before_a_byte_is_fetched(command, hub, capsys, monkeypatch):
    usage = shutil.disk_usage(command.catalogue)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    assert command.run(hub.url, "--voice", "tiny") == 1
    assert "has room for 0 MB, and 1 MB are to come" in capsys.readouterr().err
    assert hub.requests == []


def test_a_disk_that_fills_up_meanwhile_keeps_what_has_arrived(command, hub, capsys):
    def fill() -> None:
        # The hub has broken off here; what is written next does not fit any more.
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    hub.cut_after = [300_000]
    argv = ["piper", "--voice", "tiny", "--catalogue", str(command.catalogue)]
    argv += ["--dest", str(command.dest), "--base-url", hub.url]
    try:
        assert command.module.main(argv, lambda _: fill()) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert "what has arrived is kept" in capsys.readouterr().err
    assert command.files["tiny.onnx.part"] == MODEL[:400_000]
    assert command.run(hub.url, "--voice", "tiny") == 0
    assert command.files == COMPLETE


def test_a_file_in_the_folder_s_place_is_an_error(command, hub, capsys):
    command.dest.write_bytes(b"")
    assert command.run(hub.url, "--voice", "tiny") == 1
    assert f"{command.dest}: File exists" in capsys.readouterr().err


def test_whoever_stops_it_goes_on_later(command, hub, capsys):
    def stop(_: float) -> None:
        raise KeyboardInterrupt

    hub.cut_after = [300_000]
    argv = ["piper", "--voice", "tiny", "--catalogue", str(command.catalogue)]
    argv += ["--dest", str(command.dest), "--base-url", hub.url]
    assert command.module.main(argv, stop) == 130
    assert "stopped" in capsys.readouterr().err
    assert command.run(hub.url, "--voice", "tiny") == 0
    assert hub.ranges_asked("xx/tiny.onnx")[-1] == f"bytes={1 << 18}-"


def test_without_a_network_it_gives_up_and_says_what_to_do(command, capsys):
    # Port 9, discard: nothing listens there.
    assert command.run("http://127.0.0.1:9", "--voice", "tiny") == 1
    message = capsys.readouterr().err
    assert "127.0.0.1 cannot be reached" in message
    assert "run the same command again" in message
    assert command.pauses == [2.0, 4.0, 8.0]


@pytest.mark.parametrize(
    ("voice", "sentence"), [("nobody", "no such voice"), ("shipped", "nothing to fetch")]
)
def test_a_voice_that_cannot_be_fetched_is_an_error(command, hub, capsys, voice, sentence):
    assert command.run(hub.url, "--voice", voice) == 1
    assert sentence in capsys.readouterr().err


def test_lists_the_catalogue_without_a_network(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert command.run("http://127.0.0.1:9", "--list") == 0
    output = capsys.readouterr().out
    assert "tiny" in output
    assert "CC0 1.0" in output


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    files = [
        {
            "path": path,
            "size_bytes": len(content),
            "md5": None,
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        for path, content in CONTENT.items()
    ]
    licence = {"name": "Ours", "url": "https://example.org", "summary": "None.", "explicit": True}
    document = {
        "repository": "some/voices",
        "revision": REVISION,
        "licence": licence,
        "files": files,
    }
    path = tmp_path / "weights.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("arguments", "answer", "fetched"),
    [
        ([], "yes", True),
        ([], "Yes ", True),
        ([], "", False),
        ([], "y", False),
        (["--accept-licence"], "never asked", True),
    ],
)
def test_weights_are_fetched_when_somebody_said_yes(
    fetch_models, hub, weights, tmp_path, capsys, arguments, answer, fetched
):
    dest = tmp_path / "weights"
    argv = ["xtts_v2", *arguments, "--manifest", str(weights), "--dest", str(dest)]
    status = fetch_models.main([*argv, "--base-url", hub.url], ask=lambda _: answer)
    assert status == (0 if fetched else 1)
    assert "https://example.org" in capsys.readouterr().out
    assert dest.exists() == fetched
    assert bool(hub.requests) == fetched
    if fetched:
        assert {path.name: path.read_bytes() for path in dest.iterdir()} == COMPLETE


def test_nobody_at_the_terminal_is_a_no(fetch_models, hub, weights, tmp_path):
    def nobody(_: str) -> str:
        raise EOFError

    argv = ["xtts_v2", "--manifest", str(weights), "--dest", str(tmp_path / "weights")]
    assert fetch_models.main([*argv, "--base-url", hub.url], ask=nobody) == 1
    assert hub.requests == []


@dataclass
class StyleTts2:
    """The command for StyleTTS2: its own manifest, but for what the files hold."""

    module: ModuleType
    hub: Hub
    manifest: Path
    folder: Path

    @property
    def arguments(self) -> list[str]:
        return ["styletts2", "--manifest", str(self.manifest), "--base-url", self.hub.url]

    def run(self) -> int:
        return int(self.module.main(self.arguments, ask=lambda _: "yes"))

    @property
    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}


CHECKPOINT = "Models/LibriTTS/epochs_2nd_00020.pth"
STYLETTS2 = {"config.yml": CONFIG, "epochs_2nd_00020.pth": MODEL}


@pytest.fixture
def styletts2(
    fetch_models: ModuleType, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> StyleTts2:
    path = fetch_models.REPOSITORY / "styletts2/weights.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    hub.folder = f"/{document['repository']}/resolve/{document['revision']}/"
    hub.contents = {file["path"]: STYLETTS2[Path(file["path"]).name] for file in document["files"]}
    for file in document["files"]:
        content = hub.contents[file["path"]]
        file["size_bytes"] = len(content)
        file["sha256"] = hashlib.sha256(content).hexdigest()
    manifest = tmp_path / "weights.json"
    manifest.write_text(json.dumps(document), encoding="utf-8")
    monkeypatch.setenv("VOICE_WEIGHTS", str(tmp_path / "weights"))
    return StyleTts2(fetch_models, hub, manifest, tmp_path / "weights/styletts2")


def test_the_checkpoint_lies_where_the_stack_looks(styletts2, monkeypatch):
    assert styletts2.run() == 0
    assert styletts2.files == STYLETTS2
    # What a stack that starts now reads.
    assert runpy.run_path(layout.__file__)["WEIGHTS"] / "styletts2" == styletts2.folder
    monkeypatch.delenv("VOICE_WEIGHTS")
    assert runpy.run_path(layout.__file__)["WEIGHTS"] == styletts2.module.DEFAULT_WEIGHTS


def test_the_checkpoint_goes_on_where_an_interrupted_run_stopped(styletts2, hub):
    def stop(_: float) -> None:
        raise KeyboardInterrupt

    hub.cut_after = [600_000]
    assert styletts2.module.main(styletts2.arguments, stop, lambda _: "yes") == 130
    assert set(styletts2.files) == {"config.yml", "epochs_2nd_00020.pth.part"}
    arrived = len(styletts2.files["epochs_2nd_00020.pth.part"])
    assert styletts2.run() == 0
    assert styletts2.files == STYLETTS2
    assert hub.ranges_asked(CHECKPOINT) == [None, f"bytes={arrived}-"]


def test_another_checkpoint_never_takes_the_name(styletts2, hub, capsys):
    assert styletts2.run() == 0
    (styletts2.folder / "epochs_2nd_00020.pth").unlink()
    hub.corrupt = True
    assert styletts2.run() == 1
    assert "epochs_2nd_00020.pth: its SHA-256" in capsys.readouterr().err
    assert set(styletts2.files) == {"config.yml"}


def test_a_checkpoint_that_changed_here_is_fetched_again(styletts2, hub):
    assert styletts2.run() == 0
    (styletts2.folder / "epochs_2nd_00020.pth").write_bytes(MODEL[:-1] + b"?")
    hub.requests.clear()
    assert styletts2.run() == 0
    assert styletts2.files == STYLETTS2
    assert [path for path, _ in hub.requests] == [CHECKPOINT]


def test_without_a_terminal_the_terms_are_shown_and_nothing_is_fetched(styletts2, hub):
    command = [sys.executable, styletts2.module.__file__, *styletts2.arguments]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "you agree to inform the listeners" in done.stdout
    assert "--accept-licence agrees beforehand" in done.stderr
    assert hub.requests == []
    assert not styletts2.folder.exists()


def test_the_manifests_are_pinned(fetch_models):
    for model in fetch_models.WEIGHTS:
        found = fetch_models.read_weights(fetch_models.REPOSITORY / model / "weights.json")
        assert re.fullmatch(r"[0-9a-f]{40}", found.revision)
        assert all(re.fullmatch(r"[0-9a-f]{64}", file.sha256) for file in found.files)
