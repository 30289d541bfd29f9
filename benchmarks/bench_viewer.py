"""How fast the viewer answers: a hand that drags, a view at rest, several clients at once, and its memory meanwhile."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import http.client
import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import click
from cases import generator
from options import results_option
from timing import write_results

from eg3d.checkpoints.own import save_snapshot
from eg3d.pictures.viewer.guard import TOKEN_HEADER
from eg3d.running.cli import Command, device_option, json_option, pick_device, write_json
from groundwork.files import REPOSITORY
from groundwork.images import open_image

EMBEDDED = "embedded-control"


class Served:
    """A viewer in a process of its own, as a user starts it."""

    def __init__(self, network: str, device: str):
        command = [sys.executable, str(REPOSITORY / "eg3d" / "viewer.py"), f"--network={network}", "--port=0"]
        self.process = subprocess.Popen(
            [*command, "--open=False", f"--device={device}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        found = re.search(r":(\d+)/\?token=(\S+)", self.process.stdout.readline())
        self.port, self.token = int(found[1]), found[2]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024


class Client:
    """One page: it asks on a connection that stays open, and decodes what comes."""

    def __init__(self, served: Served, name: str):
        self.name, self.token = name, served.token
        self.connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=600)

    def view(self, view: str, moving: bool) -> float:
        """Seconds from the question to the decoded pictures."""
        begun = time.perf_counter()
        body = json.dumps({"client": self.name, "view": view, "moving": moving}).encode()
        self.connection.request("POST", "/view", body, {TOKEN_HEADER: self.token})
        answer = self.connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        size = int.from_bytes(content[:4], "little")
        at = 4 + size
        for length in json.loads(content[4:at])["bytes"]:
            open_image(content[at : at + length], view).load()
            at += length
        return time.perf_counter() - begun


def path(step: int, seed: int = 0, gaze: str = "face") -> str:
    """A view on a drag round the face."""
    yaw, pitch = 0.35 * math.sin(step / 10), 0.2 * math.cos(step / 10)
    return f"seed={seed}&yaw={yaw:.6f}&pitch={pitch:.6f}&gaze={gaze}"


def dragged(served: Served, client: Client, steps: int, gaze: str = "face") -> dict:
    """A drag of so many frames, one after the other as the page asks for them."""
    for step in range(10):  # the pace finds how much effort is right
        client.view(path(step, gaze=gaze), moving=True)
    cpu, begun = served.cpu_seconds(), time.perf_counter()
    waits = [client.view(path(step, gaze=gaze), moving=True) for step in range(steps)]
    return {
        "frames_per_second": steps / (time.perf_counter() - begun),
        "median_ms": 1000 * statistics.median(waits),
        "worst_ms": 1000 * max(waits),
        "server_cpu_ms_per_frame": 1000 * (served.cpu_seconds() - cpu) / steps,
    }


def rested(served: Served, client: Client, repeats: int) -> dict:
    """Whole pictures of a head whose planes are kept, and of new heads."""
    found = {}
    for name, seeds in (("whole picture", [0] * repeats), ("whole picture of a new head", range(100, 100 + repeats))):
        cpu = served.cpu_seconds()
        waits = [client.view(path(7 * step, seed=seed), moving=False) for step, seed in enumerate(seeds)]
        found[name] = {
            "seconds": statistics.median(waits),
            "server_cpu_seconds": (served.cpu_seconds() - cpu) / repeats,
        }
    return found


def crowd(served: Served, clients: int, seconds: float) -> dict:
    """Clients that drag for two seconds, rest until they have the whole picture, and take another head."""
    waits, rests, memory = [], [], []
    end = time.perf_counter() + seconds

    def use(number: int) -> None:
        client, round_ = Client(served, f"crowd{number}"), 0
        while time.perf_counter() < end:
            stop = time.perf_counter() + 2
            while time.perf_counter() < stop:
                waits.append(client.view(path(len(waits), seed=10 * number + round_ % 10), moving=True))
            rests.append(client.view(path(len(waits), seed=10 * number + round_ % 10), moving=False))
            round_ += 1

    threads = [threading.Thread(target=use, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        memory.append(served.resident_mib())
        time.sleep(min(2, seconds / 10))
    quarter = max(1, len(memory) // 4)
    return {
        "clients": clients, "seconds": seconds, "previews": len(waits),
        "preview_median_ms": 1000 * statistics.median(waits), "preview_worst_ms": 1000 * max(waits),
        "whole_median_seconds": statistics.median(rests), "whole_worst_seconds": max(rests),
        "memory_mib_second_quarter": statistics.median(memory[quarter : 2 * quarter] or memory),
        "memory_mib_last_quarter": statistics.median(memory[-quarter:]),
    }  # fmt: skip


@click.command(cls=Command)
@click.option("--cfg", "preset", type=click.Choice(["embedded", "ffhq"]), default="embedded", show_default=True,
              help="embedded: embedded-control; ffhq: the published 512 px sizes with random weights.")  # fmt: skip
@click.option("--repeats", type=click.IntRange(min=1), default=100, show_default=True, help="Frames of a drag.")
@click.option("--clients", type=click.IntRange(min=0), default=4, show_default=True, help="At once; 0: only one.")
@click.option("--seconds", type=click.FloatRange(min=1), default=60, show_default=True, help="That they stay.")
@device_option
@json_option
@results_option
def main(preset, repeats, clients, seconds, device, json_path, results):
    """Frames per second, waits and memory of eg3d/viewer.py over HTTP, decoding included, without a browser."""
    with tempfile.TemporaryDirectory() as folder:
        network = EMBEDDED
        if preset != "embedded":
            network = str(Path(folder) / "random.safetensors")
            save_snapshot(network, {"G_ema": generator(preset, "cpu")}, {})
        with Served(network, device) as served:
            client, numbers = Client(served, "one"), {"load_before": os.getloadavg()[0]}
            client.view(path(0), moving=False)
            numbers["drag"] = dragged(served, client, repeats)
            if preset == "embedded":
                numbers["drag with eye contact"] = dragged(served, client, repeats, gaze="camera")
            numbers |= rested(served, client, 3)
            if clients:
                numbers["crowd"] = crowd(served, clients, seconds)
            numbers["load_after"] = os.getloadavg()[0]
    for name, found in numbers.items():
        pairs = found.items() if isinstance(found, dict) else [("", found)]
        click.echo(f"{name}: " + ", ".join(f"{key} {value:.4g}".strip() for key, value in pairs))
    write_json(json_path, numbers)
    click.echo(f"written to {write_results(results, f'viewer-{preset}', pick_device(device), numbers)}")


if __name__ == "__main__":
    main()
