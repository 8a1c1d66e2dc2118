"""Stops one worker thread of a process by ptrace(2) until the process ends: wedge.py PID."""

import ctypes
import os
import sys
import time

PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207

pid = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def name(thread):
    with open(f"/proc/{pid}/task/{thread}/comm", encoding="utf-8") as file:
        return file.read().strip()


threads = [int(thread) for thread in os.listdir(f"/proc/{pid}/task")]
workers = [thread for thread in threads if thread != pid and "tokio" in name(thread)] or [pid]
print("stopping thread", workers[0], name(workers[0]), "of", [name(thread) for thread in threads], flush=True)
for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
    if libc.ptrace(request, workers[0], None, None) != 0:
        sys.exit(f"ptrace {request:#x}: {os.strerror(ctypes.get_errno())}")
while os.path.exists(f"/proc/{pid}/task/{workers[0]}"):
    time.sleep(1)
