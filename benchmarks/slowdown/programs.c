/*
 * Programs whose speed is measured, by a counter in a file.
 *
 * random: increments bytes at random places.
 * chase: follows pointers, one in each page of 4 KiB, in random order.
 * sweep: reads memory from its start to its end, and again.
 * map: maps a page, touches and unmaps it, beside memory that it doesn't touch again.
 *
 * COUNTERS gets the number of operations (of sweep: of bytes) and, of map, how many operations took
 * how long, as 64-bit integers. Operation times are in buckets: those below 64 ns exactly, then 64
 * buckets for each power of two.
 *
 * Prints "ready" once all memory is there.
 *
 * Usage: programs COUNTERS random|chase|sweep|map BYTES small|huge
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define BUCKETS (64 * 40)
#define BATCH 20000

static volatile uint64_t *counters;

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

static void *checked(void *memory)
{
	if (memory == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return memory;
}

static uint64_t x = 88172645463325252ULL;

static inline uint64_t random64(void)
{
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static unsigned bucket(uint64_t ns)
{
	unsigned power;

	if (ns < 64)
		return ns;
	power = 63 - __builtin_clzll(ns);
	return (power - 5) * 64 + ((ns >> (power - 6)) & 63);
}

static void at_random(uint8_t *memory, uint64_t bytes)
{
	for (;;) {
		for (int i = 0; i < BATCH; i++)
			memory[(random64() >> 11) % bytes]++;
		counters[0] += BATCH;
	}
}

static void chase(uint8_t *memory, uint64_t bytes)
{
	uint64_t pages = bytes / PAGE, i;
	uint32_t *order = malloc(pages * sizeof(*order));
	void **next;

	for (i = 0; i < pages; i++)
		order[i] = i;
	for (i = pages - 1; i > 0; i--) {
		uint64_t other = (random64() >> 11) % i;
		uint32_t kept = order[i];

		order[i] = order[other];
		order[other] = kept;
	}
	/* In each page another line of the cache. */
#define PLACE(n) ((void **)(memory + (n) * PAGE + ((n) * 7 % 64) * 64))
	for (i = 0; i < pages; i++)
		*PLACE(order[i]) = PLACE(order[(i + 1) % pages]);
	next = PLACE(order[0]);
	free(order);
	puts("ready");
	fflush(stdout);
	for (;;) {
		for (i = 0; i < BATCH; i++)
			next = *(void *volatile *)next;
		counters[0] += BATCH;
	}
}

static void sweep(uint8_t *memory, uint64_t bytes)
{
	uint64_t result = 0;
	const uint64_t piece = 1 << 20;

	for (;;) {
		for (uint64_t done = 0; done < bytes; done += piece) {
			const uint64_t *word = (const uint64_t *)(memory + done);
			uint64_t sum = 0;

			for (uint64_t i = 0; i < piece / 8; i += 8)
				sum += word[i];
			result += sum;
			__asm__ volatile("" : : "r"(result));
			counters[0] += piece;
		}
	}
}

static void map(void)
{
	uint64_t last = now_ns();

	for (;;) {
		volatile uint8_t *page = checked(mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
						      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
		uint64_t now;

		*page = 1;
		munmap((void *)page, PAGE);
		now = now_ns();
		counters[1 + bucket(now - last)]++;
		counters[0]++;
		last = now;
	}
}

int main(int argc, char **argv)
{
	uint64_t bytes;
	uint8_t *memory;
	int fd;

	if (argc != 5) {
		fprintf(stderr, "usage: programs COUNTERS random|chase|sweep|map BYTES small|huge\n");
		return 2;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || ftruncate(fd, (1 + BUCKETS) * 8) != 0) {
		perror(argv[1]);
		return 1;
	}
	counters = checked(mmap(NULL, (1 + BUCKETS) * 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	bytes = strtoull(argv[3], NULL, 10);
	/* Room to begin at a whole huge page. */
	memory = checked(mmap(NULL, bytes + (2 << 20), PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
	memory = (uint8_t *)(((uintptr_t)memory + (2 << 20) - 1) & ~((2UL << 20) - 1));
	madvise(memory, bytes, strcmp(argv[4], "huge") == 0 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	for (uint64_t done = 0; done < bytes; done += PAGE)
		memory[done] = 1;
	if (strcmp(argv[2], "chase") == 0)
		chase(memory, bytes);
	puts("ready");
	fflush(stdout);
	if (strcmp(argv[2], "random") == 0)
		at_random(memory, bytes);
	if (strcmp(argv[2], "sweep") == 0)
		sweep(memory, bytes);
	if (strcmp(argv[2], "map") == 0)
		map();
	return 2;
}
