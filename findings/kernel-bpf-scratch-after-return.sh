#!/bin/bash
# Linux: the checker of classic BPF refuses a program whose loads of scratch memory all follow a store, because a return
# stands directly before the block that loads.
#
# Valid input: two programs of the same blocks in another order, as filters of a socket (SO_ATTACH_FILTER; seccomp(2) and
# packet sockets have the same checker). Both store M[0] before they jump to the block that loads it. In the one that
# the kernel takes, the block with the store stands directly before the block with the load; in the other one the block
# that only returns stands there.
#
# Behaviour: check_load_and_stores in net/core/filter.c walks from top to bottom and keeps which words are stored. At a
# jump it hands that on to the targets and forgets it, as nothing falls through a jump; at a return it does not, though
# nothing falls through a return either. So what is not stored before a return counts as not stored behind it, and what
# jumps there with a store cannot mend that: EINVAL. Programs made by joining filters have to end such parts with
# jumps, or to put the parts that return first.
# Seen (Linux 6.18.44):
#   store block last: taken
#   return block last: refused: Invalid argument
#
#   kernel-bpf-scratch-after-return.sh     needs python3; ends with 1 when the behaviour is another
set -euo pipefail

uname -r
seen=$(python3 - <<'PYTHON'
import ctypes, os, socket, struct

LD_IMM, ST, LD_MEM, LD_LEN, JA, JEQ, RET_K, RET_A = 0x00, 0x02, 0x60, 0x80, 0x05, 0x15, 0x06, 0x16
SO_ATTACH_FILTER = 26

def attach(title, program):
    code = b"".join(struct.pack("HBBI", *one) for one in program)
    memory = ctypes.create_string_buffer(code)
    option = struct.pack("HL", len(program), ctypes.addressof(memory))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        try:
            one.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, option)
            print(f"{title}: taken")
        except OSError as error:
            print(f"{title}: refused: {os.strerror(error.errno)}")

load = [(LD_MEM, 0, 0, 0), (RET_A, 0, 0, 0)]
# 0: packets of 7 bytes go to the block that returns, all others to the one that stores and jumps to the load.
attach("store block last", [
    (LD_LEN, 0, 0, 0), (JEQ, 0, 1, 7),
    (RET_K, 0, 0, 0),
    (LD_IMM, 0, 0, 9), (ST, 0, 0, 0), (JA, 0, 0, 0), *load])
attach("return block last", [
    (LD_LEN, 0, 0, 0), (JEQ, 3, 0, 7),
    (LD_IMM, 0, 0, 9), (ST, 0, 0, 0), (JA, 0, 0, 1),
    (RET_K, 0, 0, 0), *load])
PYTHON
)
echo "$seen"
[ "$seen" = "store block last: taken
return block last: refused: Invalid argument" ]
