"""Runs steps: jobs side by side, each in its own process and process group, under a step's, a job's and the whole run's time limit."""
import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import report


class Clock:
    """What is left of the whole run."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def left(self):
        return self.end - time.monotonic()


def run_job(job, seconds, log_path, variables):
    """{name, command, code, seconds}; code None: killed at its limit, with all that it started. What it printed is in log_path."""
    result = {"name": job.name, "command": " ".join(job.command), "code": None, "seconds": 0.0, "limit": round(seconds)}
    if job.made and os.path.exists(job.made):
        os.remove(job.made)
    start = time.monotonic()
    with open(log_path, "wb") as log:
        try:
            process = subprocess.Popen(job.command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                       env={**variables, **job.environment}, start_new_session=True)
        except OSError as error:
            log.write(str(error).encode())
            return {**result, "code": 127}
        try:
            result["code"] = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return {**result, "seconds": round(time.monotonic() - start, 1)}


def run_step(step, clock, logs, variables):
    """The step's record: {name, status, detail, seconds, gate, jobs}. A job whose turn comes too late is not started."""
    record = {"name": step.name, "gate": step.gate, "seconds": 0.0, "jobs": []}
    if step.needs and not (os.path.exists(step.needs) or any(os.access(os.path.join(p, step.needs), os.X_OK) for p in variables["PATH"].split(os.pathsep))):
        return {**record, "status": "not run", "detail": f"{os.path.basename(step.needs)} is missing"}
    if clock.left() < 1:
        return {**record, "status": "not run", "detail": "out of time"}
    start = time.monotonic()
    end = min(start + step.limit, clock.end)
    lock = threading.Lock()

    def one(job):
        left = end - time.monotonic()
        if left < 1:
            made = {"name": job.name, "command": " ".join(job.command), "code": None, "seconds": 0.0, "limit": 0}
        else:
            made = run_job(job, min(left, job.limit or left), os.path.join(logs, log_name(step, job)), variables)
        made["status"], made["detail"] = report.job_verdict(step, job, made, os.path.join(logs, log_name(step, job)))
        with lock:
            record["jobs"].append(made)

    with ThreadPoolExecutor(step.side_by_side) as pool:
        list(pool.map(one, step.jobs))
    order = {job.name: k for k, job in enumerate(step.jobs)}
    record["jobs"].sort(key=lambda made: order[made["name"]])
    record["seconds"] = round(time.monotonic() - start, 1)
    record["status"], record["detail"] = report.step_verdict(record["jobs"])
    return record


def log_name(step, job):
    return (step.name if job.name == step.name else f"{step.name}.{job.name}").replace(" ", "_") + ".log"
