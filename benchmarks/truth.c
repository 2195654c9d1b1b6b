/*
 * A process whose working set is known, page by page and moment by moment.
 *
 * It maps memory, touches all of it once, and then writes to its hot pages again and again, in
 * sweeps of up to 100 a second; if OFF_MS isn't 0 it sweeps for ON_MS and rests for OFF_MS, in
 * turns. If ON_MS is 0 it never rests, and writes to each chunk for a millisecond before the next.
 * The hot pages are the first ones, or random ones of all. A sweep consists of chunks of
 * pages; LOG gets, in this order, the number of chunks that were done, the number of chunks of a
 * sweep, and the pages of a chunk (the last one of a sweep may have fewer), as 64-bit integers;
 * then the begin and the end of each chunk that was done, in nanoseconds of CLOCK_REALTIME.
 *
 * Prints the addresses of the memory, once it is all there: "START END HOT_PAGES", in decimal.
 *
 * Usage: truth LOG BYTES MAPPINGS HOT_PAGES together|scattered ON_MS OFF_MS
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
#define PAUSE_NS 10000000L
#define BUSY_NS 1000000
#define MOST_CHUNKS 256UL
#define LEAST_PAGES 64UL
#define ENTRIES (1UL << 23)

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
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

static uint64_t random64(void)
{
	static uint64_t x = 88172645463325252ULL;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

/* Returns the addresses of all pages, in `mappings` mappings that the kernel can't join. */
static char **map(uint64_t pages, uint64_t mappings)
{
	uint64_t each = pages / mappings, n, i;
	char **page = checked(mmap(NULL, pages * sizeof(*page), PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	char *memory = checked(mmap(NULL, (pages + mappings) * PAGE, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));

	madvise(memory, (pages + mappings) * PAGE, MADV_NOHUGEPAGE);
	for (n = 0; n < mappings; n++) {
		for (i = 0; i < each; i++) {
			page[n * each + i] = memory + i * PAGE;
			*page[n * each + i] = 1;
		}
		/* A hole. */
		munmap(memory + each * PAGE, PAGE);
		memory += (each + 1) * PAGE;
	}
	return page;
}

int main(int argc, char **argv)
{
	uint64_t pages, mappings, hot, on_ns, off_ns, chunks, of_chunk, i, begun;
	uint64_t *log;
	char **page;
	int fd;

	if (argc != 8) {
		fprintf(stderr, "usage: truth LOG BYTES MAPPINGS HOT_PAGES together|scattered "
				"ON_MS OFF_MS\n");
		return 2;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	mappings = strtoull(argv[3], NULL, 10);
	pages = strtoull(argv[2], NULL, 10) / PAGE / mappings * mappings;
	hot = strtoull(argv[4], NULL, 10);
	on_ns = strtoull(argv[6], NULL, 10) * 1000000;
	off_ns = strtoull(argv[7], NULL, 10) * 1000000;
	if (hot < 1 || hot > pages)
		return 2;
	fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || ftruncate(fd, (3 + 2 * ENTRIES) * 8) != 0) {
		perror(argv[1]);
		return 1;
	}
	log = checked(mmap(NULL, (3 + 2 * ENTRIES) * 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	page = map(pages, mappings);
	of_chunk = (hot + MOST_CHUNKS - 1) / MOST_CHUNKS;
	if (of_chunk < LEAST_PAGES)
		of_chunk = LEAST_PAGES;
	chunks = (hot + of_chunk - 1) / of_chunk;
	log[1] = chunks;
	log[2] = of_chunk;
	printf("%llu %llu %llu\n", (unsigned long long)page[0],
	       (unsigned long long)(page[pages - 1] + PAGE), (unsigned long long)hot);
	fflush(stdout);
	if (strcmp(argv[5], "scattered") == 0) {
		for (i = 0; i < hot; i++) {
			uint64_t other = i + random64() % (pages - i);
			char *address = page[other];

			page[other] = page[i];
			page[i] = address;
		}
	}
	begun = now_ns();
	for (;;) {
		struct timespec pause = { 0, PAUSE_NS };
		uint64_t chunk;

		for (chunk = 0; chunk < chunks && log[0] < ENTRIES; chunk++) {
			uint64_t end = (chunk + 1) * of_chunk < hot ? (chunk + 1) * of_chunk : hot;
			uint64_t *entry = log + 3 + 2 * log[0];

			entry[0] = now_ns();
			do {
				for (i = chunk * of_chunk; i < end; i++)
					*(volatile char *)page[i] += 1;
				entry[1] = now_ns();
			} while (!on_ns && entry[1] - entry[0] < BUSY_NS);
			__atomic_store_n(log, log[0] + 1, __ATOMIC_RELEASE);
		}
		if (log[0] == ENTRIES) {
			fprintf(stderr, "truth: the log is full\n");
			return 1;
		}
		if (!on_ns)
			continue;
		if (off_ns && now_ns() - begun >= on_ns) {
			pause.tv_sec = off_ns / 1000000000;
			pause.tv_nsec = off_ns % 1000000000;
			nanosleep(&pause, NULL);
			begun = now_ns();
		} else {
			nanosleep(&pause, NULL);
		}
	}
}
