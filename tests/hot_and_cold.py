"""A program with memory that is in use all the time, and memory that isn't."""


def program_of_two_areas(sleep_s: float) -> str:
    """Return a program in Python that reads an area again and again, and leaves another alone.

    It prints the addresses of the hot and of the cold area, and the size of each; between them
    nothing is mapped. Given "leave" as its argument, its first thread exits once it has read a
    line, and another does the work.

    Args:
        sleep_s: How long it sleeps between two times, in seconds. During the sleep translations
            leave the TLB; accesses through the TLB wouldn't set accessed bits.
    """
    return _PROGRAM.replace("SLEEP_S", str(sleep_s))


_PROGRAM = """
import ctypes, mmap, sys, threading, time
SIZE = 8 << 20
areas = []
for _ in range(3):  # the unmapped middle one keeps the other two apart
    area = mmap.mmap(-1, SIZE)
    area.madvise(mmap.MADV_NOHUGEPAGE)
    areas.append(area)
def address(area):
    return ctypes.addressof(ctypes.c_char.from_buffer(area))
areas.sort(key=address)
hot, gap, cold = areas
gap.close()
for area in (hot, cold):
    area[::4096] = b"x" * (SIZE // 4096)
print(address(hot), address(cold), SIZE, flush=True)
def work():
    while True:
        hot[::4096]
        time.sleep(SLEEP_S)
if sys.argv[1:] == ["leave"]:
    threading.Thread(target=work).start()
    sys.stdin.readline()
    ctypes.CDLL(None).pthread_exit(None)
work()
"""
