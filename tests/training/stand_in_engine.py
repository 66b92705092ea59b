"""A process that keeps the engine's contract without a model: ``python stand_in_engine.py BEHAVIOUR RUN_DIR``.

It writes events with the engine's own writer, so what the supervisor reads is what the engine writes.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from training.engine.events import EventWriter
from training.engine.run_dir import RunDir, write_json


def succeed(run_dir: RunDir, events: EventWriter) -> int:
    """Four steps, an evaluation before and after, samples, a warning, a model."""
    rows = {name: item.rows for name, item in run_dir.spec().data.items()}
    events.write("start", total_steps=4, device="pretend", parameters=10, trainable_parameters=1)
    events.write("phase", name="loading model", done=0, total=1)
    events.write("eval", step=0, metrics={"accuracy": 0.4, "margin": 0.0, "loss": 0.69})
    prompt = [{"role": "user", "content": "Hello?"}]
    sample = {"id": "1", "prompt": prompt, "ended": True, "tokens": 3}
    events.write("sample", step=0, samples=[{**sample, "text": "Before <b>markup</b>."}])
    for step in range(1, 5):
        events.write("step", step=step, total_steps=4, eta_s=4 - step, metrics={"loss": 0.7 - step / 10})
    events.write("eval", step=4, metrics={"accuracy": 0.8, "margin": 1.5, "loss": 0.3})
    events.write("sample", step=4, samples=[{**sample, "text": "After."}])
    events.write("warning", message=f"{rows.get('train', 0)} rows is little")
    _write_model(run_dir)
    metrics = {"accuracy_before": 0.4, "accuracy": 0.8, "margin_before": 0.0, "margin": 1.5}
    write_json(run_dir.result_path, {"metrics": metrics, "method": "dpo", "seconds": 1.0, "steps": 4})
    events.write("done", metrics=metrics)
    return 0


def _write_model(run_dir: RunDir) -> None:
    folder = run_dir.model_path / "merged"
    folder.mkdir(parents=True, exist_ok=True)
    content = b'{"architectures": []}'
    (folder / "config.json").write_bytes(content)
    entry = {"path": "config.json", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest = {"formats": ["merged"], "files": {"merged": [entry]}, "tokenizer_sha256": "ab" * 32, "parameters": 10}
    write_json(run_dir.model_path / "manifest.json", manifest)


def answer(run_dir: RunDir, events: EventWriter) -> int:
    """What the method `sample` leaves; the text says its prompt and number, the last answer to each is cut off."""
    rows, n = run_dir.rows("prompts"), run_dir.spec().config["n"]
    events.write("start", total_steps=len(rows) * n, device="pretend")
    events.write("phase", name="sampling", done=len(rows) * n, total=len(rows) * n)
    with open(run_dir.samples_path, "w", encoding="utf-8") as file:
        for row in rows:
            for number in range(n):
                text = f"Answer {number} to {row['prompt'][-1]['content']}"
                line = {"id": row["id"], "n": number, "text": text, "ended": number < n - 1, "tokens": 5}
                file.write(json.dumps(line) + "\n")
    write_json(run_dir.result_path, {"metrics": {"response_tokens": 5.0, "share_ended": (n - 1) / n}})
    return 0


def end_without_result(run_dir: RunDir, events: EventWriter) -> int:
    return 0


def run_out_of_memory(run_dir: RunDir, events: EventWriter) -> int:
    events.write("error", reason="out of memory: lower tokens_per_pass (now 4096)")
    print("Traceback: something long")
    return 1


def bad_input(run_dir: RunDir, events: EventWriter) -> int:
    print("the base model's folder lacks a shard", file=sys.stderr)
    return 2


def be_killed(run_dir: RunDir, events: EventWriter) -> int:
    events.write("step", step=1, total_steps=9, eta_s=8, metrics={"loss": 0.5})
    print("about to be killed", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def work_until_told(run_dir: RunDir, events: EventWriter) -> int:
    """Works for ever; on SIGTERM writes a checkpoint event and leaves with 75, as the engine does."""

    def leave(number: int, frame: object) -> None:
        events.write("checkpoint", step=2, path="checkpoints/step-000002")
        os._exit(75)

    signal.signal(signal.SIGTERM, leave)
    events.write("step", step=1, total_steps=9, eta_s=8, metrics={"loss": 0.5})
    while True:
        time.sleep(0.05)


def ignore_the_request(run_dir: RunDir, events: EventWriter) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    events.write("phase", name=f"child {child.pid}", done=0, total=0)
    while True:
        time.sleep(0.05)


def write_a_torn_line(run_dir: RunDir, events: EventWriter) -> int:
    """An event, half of one, a pause, the other half: what a reader sees when it comes in between."""
    events.write("step", step=1, total_steps=2, eta_s=1, metrics={"loss": 0.5})
    line = json.dumps(
        {"seq": 2, "at": time.time(), "kind": "step", "step": 2, "total_steps": 2, "metrics": {"loss": 0.4}}
    )
    with open(run_dir.events_path, "a", encoding="utf-8") as file:
        for part in (line[:20], line[20:] + "\n"):
            file.write(part)
            file.flush()
            time.sleep(0.3)
    _write_model(run_dir)
    write_json(run_dir.result_path, {"metrics": {"loss": 0.4}})
    return 0


def say_what_no_database_holds(run_dir: RunDir, events: EventWriter) -> int:
    """NUL, half a surrogate pair, NaN, a line that is no event: a hostile or broken model can make all of them."""
    with open(run_dir.events_path, "a", encoding="utf-8") as file:
        file.write('{"seq": 1, "at": 1.0, "kind": "warning", "message": "a\\u0000b\\ud800c", "value": NaN}\n')
        file.write('{"seq": "x"}\n[]\nnot json\n')
    return 2


def finish_or_go_on(run_dir: RunDir, events: EventWriter) -> int:
    """The first time it works until told; once there is a checkpoint it finishes."""
    marker = run_dir.path / "checkpoint"
    if marker.exists():
        return succeed(run_dir, events)
    marker.touch()
    return work_until_told(run_dir, events)


BEHAVIOURS = {
    item.__name__: item
    for item in (
        succeed,
        answer,
        end_without_result,
        run_out_of_memory,
        bad_input,
        be_killed,
        work_until_told,
        ignore_the_request,
        write_a_torn_line,
        say_what_no_database_holds,
        finish_or_go_on,
    )
}

if __name__ == "__main__":
    run_directory = RunDir(sys.argv[2])
    sys.exit(BEHAVIOURS[sys.argv[1]](run_directory, EventWriter(run_directory.events_path)))
