#!/usr/bin/env python3
"""Writes logs as tools draw them that are not at hand everywhere: their ways of moving the cursor, without the tools.

Run in this folder: it writes `docker-build.log`, `docker-pull.log`, `gradle.log`, `podman.log`, `apt-install.log` and
`playwright.log`.
"""

ESC = "\x1b["


def docker_build():
    """The last lines are gone over again: up as many as were drawn, and each in full width."""
    steps = [
        ("[internal] load build definition from Dockerfile", 1, 3),
        ("[internal] load metadata for docker.io/library/debian:stable", 2, 6),
        ("[builder 1/3] FROM docker.io/library/debian:stable", 5, 9),
        ("[builder 2/3] RUN apt-get install -y gcc", 8, 20),
        ("[builder 3/3] RUN make", 19, 24),
        ("exporting to image", 24, 26),
    ]
    out = ""
    drawn = 0
    for tick in range(28):
        shown = [step for step in steps if step[1] <= tick]
        lines = []
        done = sum(step[2] <= tick for step in shown)
        end = done == len(steps)
        lines.append(f"[+] Building {tick / 10:.1f}s ({done}/{len(steps)}){' FINISHED' if end else ''}")
        for name, start, stop in shown:
            time = f"{(min(tick, stop) - start) / 10:.1f}s"
            text = f" => {name}".ljust(100 - len(time)) + time
            lines.append(f"{ESC}34m{text}{ESC}0m" if stop <= tick else text)
            if name.endswith("gcc") and start <= tick < stop:
                lines.append(f" => => # Setting up libfoo{tick} ...".ljust(100))
                lines.append(f" => => # Setting up libbar{tick} ...".ljust(100))
        out += f"{ESC}?25l"
        out += f"{ESC}1A" * drawn + f"{ESC}0G"
        for line in lines:
            out += line + "\n"
        # What was drawn below before, and is not any more, is blanked and gone back over.
        for _ in range(drawn - len(lines)):
            out += " " * 100 + "\n"
        out += f"{ESC}1A" * max(0, drawn - len(lines))
        drawn = len(lines)
        out += f"{ESC}?25h"
    return out


def docker_pull():
    """One line a layer, each reached by its distance from the end."""
    layers = ["4f4fb700ef54", "2d35ebdb57d9", "9824c27679d3", "f1d4b7e1c1a7"]
    out = "Using default tag: latest\nlatest: Pulling from library/demo\n"
    place = {}

    def say(layer, text):
        nonlocal out
        if layer not in place:
            place[layer] = len(place)
            out += "\n"
        up = len(place) - place[layer]
        out += f"{ESC}{up}A{ESC}2K\r{layer}: {text}{ESC}{up}B\r" if up else ""

    for layer in layers:
        say(layer, "Pulling fs layer ")
    for part in range(0, 11, 2):
        for i, layer in enumerate(layers):
            bar = ("=" * (part * 5) + ">").ljust(51)
            say(layer, f"Downloading  [{bar}]  {part * (i + 1)}MB/{10 * (i + 1)}MB")
    for layer in layers:
        say(layer, "Extracting  [==================================================>]  1MB/1MB")
        say(layer, "Pull complete ")
    return out + "Digest: sha256:0123\nStatus: Downloaded newer image for demo:latest\n"


def gradle():
    """A bar and the busy workers stay at the end; lines above them are inserted by drawing all anew."""
    out = "\nStarting a Gradle Daemon\n\n\n"
    tasks = [":compileJava", ":processResources", ":classes", ":compileTestJava", ":test", ":check", ":build"]
    bar = f"{ESC}1m<-------------> 0% INITIALIZING [20ms]{ESC}m"
    out += f"{ESC}2A{bar}{ESC}38D{ESC}1B{ESC}1m> Evaluating settings{ESC}m{ESC}21D{ESC}1B"
    for i, task in enumerate(tasks):
        percent = i * 100 // len(tasks)
        full = i * 13 // len(tasks)
        bar = f"<{'=' * full}{'-' * (13 - full)}> {percent}% EXECUTING [{i}s]"
        busy = f"> {task}"
        out += f"{ESC}2A{ESC}1m{ESC}32;1m{bar}{ESC}39m{ESC}0K{ESC}m{ESC}{len(bar)}D{ESC}1B"
        out += f"{ESC}1m{busy}{ESC}m{ESC}0K{ESC}{len(busy)}D{ESC}1B"
        if i % 3 == 2:
            line = f"> Task {task} UP-TO-DATE"
            out += f"{ESC}2A{line}{ESC}0K\n{ESC}1m{bar}{ESC}m{ESC}0K\n{ESC}1m{busy}{ESC}m{ESC}0K\n"
    out += f"{ESC}2A{ESC}0J{ESC}32;1mBUILD SUCCESSFUL{ESC}0;39m in 7s\n7 actionable tasks: 7 executed\n{ESC}?25h"
    return out


def podman():
    """All bars are erased and drawn again below what has ended."""
    out = "Trying to pull registry.example.org/demo:latest...\nGetting image source signatures\n"
    drawn = 0
    for tick in range(0, 12):
        if drawn:
            out += f"{ESC}{drawn}A{ESC}J"
        lines = []
        for i, blob in enumerate(["1f7ce2fa46ab", "4c25b3090c26", "9b3977197b4f"]):
            part = min(1, tick / (4 + 3 * i))
            if part == 1:
                lines.append(f"Copying blob {blob} done   | ")
            else:
                bar = ("=" * int(part * 30) + ">").ljust(30, "-")
                lines.append(f"Copying blob {blob} [{bar}] {part * 12:.1f}MiB / 12.0MiB | 3.1 MiB/s")
        out += "".join(line + "\n" for line in lines)
        drawn = len(lines)
    return out + "Writing manifest to image destination\n"


def apt_install():
    """A status line under a scroll region, on a terminal of 40 rows."""
    out = "Preparing to unpack .../hello_2.10-3_amd64.deb ...\r\n"
    out += "\n\x1b7\x1b[0;39r\x1b8\x1b[1A"
    for percent, line in [
        (0, "Unpacking hello (2.10-3) ..."),
        (20, "Setting up hello (2.10-3) ..."),
        (60, "Processing triggers for man-db (2.11.2-2) ..."),
        (80, None),
    ]:
        bar = ("#" * (percent * 80 // 100)).ljust(80, ".")
        out += f"\x1b7\x1b[40;0f\x1b[42m\x1b[30mProgress: [{percent:3d}%]\x1b[49m\x1b[39m [{bar}] \x1b8"
        if line:
            out += line + "\r\n"
    return out + "\n\x1b7\x1b[0;40r\x1b8\x1b[1A\x1b[J"


def playwright():
    """The line of the running test is erased from above."""
    out = "\nRunning 5 tests using 1 worker\n\n"
    for i in range(5):
        title = f"[{i + 1}/5] tests/demo.spec.ts:{3 + i}:5 › adds {i}"
        out += f"{ESC}1A{ESC}2K{title}\n"
        if i == 3:
            out += f"{ESC}1A{ESC}2K  1) {title}\n\n    {ESC}31mError: expect({ESC}39mreceived{ESC}31m){ESC}39m\n\n\n"
    return out + f"{ESC}1A{ESC}2K{ESC}31m  1 failed{ESC}39m\n{ESC}32m  4 passed{ESC}39m{ESC}2m (1.2s){ESC}22m\n"


for name, draw in [
    ("docker-build", docker_build),
    ("docker-pull", docker_pull),
    ("gradle", gradle),
    ("podman", podman),
    ("apt-install", apt_install),
    ("playwright", playwright),
]:
    with open(f"{name}.log", "w", newline="") as log:
        # A terminal's line discipline adds the returns.
        log.write(draw().replace("\r\n", "\n").replace("\n", "\r\n"))
