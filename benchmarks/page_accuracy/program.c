/*
 * A process with memory of a given size that increments a byte in each of some pages, by a
 * timetable, and logs when.
 *
 * Time is in ticks. In each, the pages that are due are used one after the other. A page is due
 * every PERIOD ticks, from tick PHASE on. One with a TURN above 0 is due in each tick while it is
 * that turn: turns are of TURN_TICKS ticks and follow one another, from 1 to TURNS and again. A tick
 * takes TICK_US at least; with 0 it takes a millisecond, in which all pages of period 1 are used as
 * often as possible.
 *
 * LOG gets the number of ticks that have ended, and when each began and ended: 64-bit integers,
 * nanoseconds of CLOCK_MONOTONIC.
 *
 * Prints the address of the memory.
 *
 * Usage: program LOG MIB TICK_US TURN_TICKS TURNS <entries
 *
 * The standard input has PAGE, PERIOD, PHASE, TURN of each page that is used, of 32 bits each.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define BLOCK (512 * PAGE)
#define MOST_PAGES (1 << 22)
#define MOST_TICKS (1 << 20)
#define SLOTS (1 << 16)
#define SHORTEST_NS 1000000
/* So many pages are used before the clock is read again. */
#define AT_ONCE 20000

struct entry {
	uint32_t page, period, phase, turn;
};

static struct entry entries[MOST_PAGES];
/* Pages of period 1 and of turns, and the others by the tick in which they are due. */
static uint32_t always[MOST_PAGES], next[MOST_PAGES], due[MOST_PAGES], slots[SLOTS];

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void put(uint32_t number, uint32_t tick)
{
	due[number] = tick;
	next[number] = slots[tick % SLOTS];
	slots[tick % SLOTS] = number + 1;
}

static void use_due(char *memory, uint32_t tick)
{
	uint32_t number = slots[tick % SLOTS], after;

	slots[tick % SLOTS] = 0;
	for (; number; number = after) {
		after = next[number - 1];
		if (due[number - 1] != tick) {
			put(number - 1, due[number - 1]);
			continue;
		}
		memory[entries[number - 1].page * PAGE]++;
		put(number - 1, tick + entries[number - 1].period);
	}
}

int main(int argc, char **argv)
{
	size_t size, count, regular = 0, number;
	uint32_t tick, turn_ticks, turns;
	int64_t tick_ns, end_ns, *log;
	char *memory;
	int fd;

	if (argc != 6)
		return 2;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	size = strtoul(argv[2], NULL, 10) << 20;
	tick_ns = strtol(argv[3], NULL, 10) * 1000;
	turn_ticks = strtoul(argv[4], NULL, 10);
	turns = strtoul(argv[5], NULL, 10);
	count = fread(entries, sizeof(entries[0]), MOST_PAGES, stdin);
	for (number = 0; number < count; number++)
		if (entries[number].turn || entries[number].period == 1)
			always[regular++] = number;
		else
			put(number, entries[number].phase);
	fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || ftruncate(fd, (1 + 2 * MOST_TICKS) * 8L) != 0)
		return 1;
	log = mmap(NULL, (1 + 2 * MOST_TICKS) * 8L, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	memory = mmap(NULL, size + BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (log == MAP_FAILED || memory == MAP_FAILED)
		return 1;
	memory = (char *)(((uintptr_t)memory + BLOCK - 1) / BLOCK * BLOCK);
	madvise(memory, size, MADV_NOHUGEPAGE);
	for (number = 0; number < size / PAGE; number++)
		memory[number * PAGE] = 1;
	printf("%lu\n", (unsigned long)memory);
	fflush(stdout);
	for (tick = 0; tick < MOST_TICKS; tick++) {
		uint32_t turn = turn_ticks ? tick / turn_ticks % turns + 1 : 0;

		log[1 + 2 * tick] = now_ns();
		use_due(memory, tick);
		do {
			size_t used = 0;

			do {
				for (number = 0; number < regular; number++) {
					const struct entry *entry = &entries[always[number]];

					if (!entry->turn || entry->turn == turn)
						memory[entry->page * PAGE]++;
				}
				used += regular;
			} while (!tick_ns && used < AT_ONCE && regular);
			end_ns = now_ns();
		} while (!tick_ns && end_ns < log[1 + 2 * tick] + SHORTEST_NS);
		log[2 + 2 * tick] = end_ns;
		__atomic_store_n(log, tick + 1, __ATOMIC_RELEASE);
		while ((end_ns = log[1 + 2 * tick] + tick_ns - now_ns()) > 0) {
			struct timespec rest = {end_ns / 1000000000, end_ns % 1000000000};

			nanosleep(&rest, NULL);
		}
	}
	pause();
	return 0;
}
