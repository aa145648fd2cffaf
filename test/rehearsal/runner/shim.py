#!/usr/bin/python3 -ES
"""usage: shim.py STATE-FOLDER BUNDLE PID-FILE ID

Starts a container with runc, waits for its first process as an engine's shim does, and exits with its code (128 + signal).
The container writes straight to our output: runc itself would copy its two streams, and lose their order.
"""
import ctypes
import os
import subprocess
import sys

PR_SET_CHILD_SUBREAPER = 36


def main(state, bundle, pid_file, container):
    # runc ends as soon as the container runs; what it leaves behind becomes our child.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    runc = ["runc", "--root", state]
    if subprocess.call([*runc, "run", "--detach", "--bundle", bundle, "--pid-file", pid_file, container]) != 0:
        return 128
    with open(pid_file, encoding="ascii") as file:
        first = int(file.read())
    while True:
        pid, status = os.wait()
        if pid == first:
            break
    subprocess.call([*runc, "delete", "--force", container], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


sys.exit(main(*sys.argv[1:]))
