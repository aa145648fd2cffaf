#!/usr/bin/python3
"""usage: watch-exec.py REHEARSAL-ID

Prints the argument list of each program that the rehearsal's containers execute, one JSON array per line. The kernel says
when something is executed (process connector); where it does not, as in a container, cgroups are looked at every 5 ms. A
program that ends within microseconds can be missed either way.
"""
import glob
import json
import os
import socket
import struct
import sys
import time

NETLINK_CONNECTOR, CN_IDX_PROC, CN_VAL_PROC, NLMSG_DONE = 11, 1, 1, 3
LISTEN, PROC_EVENT_EXEC = 1, 2
mark = f"/cdk8s-rehearsal/{sys.argv[1]}/"


def arguments(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return [part.decode(errors="replace") for part in file.read().split(b"\0")[:-1]]


def report(pid):
    try:
        with open(f"/proc/{pid}/cgroup", encoding="ascii", errors="replace") as file:
            if mark not in file.read():
                return
        args = arguments(pid)
    except OSError:
        return  # it has ended since
    if args and args[:2] != ["runc", "init"]:
        print(json.dumps(args), flush=True)


def subscribe(connector, request):
    message = struct.pack("=IIIIHH", CN_IDX_PROC, CN_VAL_PROC, 0, 0, len(request), 0) + request
    connector.settimeout(0.5)
    connector.send(struct.pack("=IHHII", 16 + len(message), NLMSG_DONE, 0, 0, os.getpid()) + message)
    return connector.recv(4096)


def listen():
    """Executions as the kernel announces them."""
    connector = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_CONNECTOR)
    connector.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    connector.bind((os.getpid(), CN_IDX_PROC))
    # The first answer acknowledges the subscription. Kernels before 6.6 don't take one for executions only, and send
    # everything; without any answer there are no events here.
    try:
        yield subscribe(connector, struct.pack("=II", LISTEN, PROC_EVENT_EXEC))
    except TimeoutError:
        yield subscribe(connector, struct.pack("=I", LISTEN))
    connector.settimeout(None)
    print("ready", flush=True)
    while True:
        try:
            yield connector.recv(4096)
        except OSError:
            pass  # more events than the buffer held


def poll():
    print("ready", flush=True)
    seen = {}
    while True:
        for file in glob.glob(f"/sys/fs/cgroup{mark}*/cgroup.procs") + glob.glob(f"/sys/fs/cgroup/memory{mark}*/cgroup.procs"):
            try:
                with open(file, encoding="ascii") as pids:
                    for pid in pids.read().split():
                        args = arguments(pid)
                        if seen.get(pid) != args:
                            seen[pid] = args
                            report(pid)
            except OSError:
                pass
        time.sleep(0.005)


def main():
    try:
        for event in listen():
            what, _cpu, _time, pid = struct.unpack_from("=IIQi", event, 16 + 20)
            if what == PROC_EVENT_EXEC:
                report(pid)
    except OSError:
        poll()


main()
