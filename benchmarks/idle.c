/*
 * The kernel calls of the backend `idle` for one check, and nothing else: pagemap and kpageflags
 * of each page, a mark in the bitmap, the word of the bitmap. Pages are those of an idle process,
 * so none has to be looked at again. Prints the processor time of a round in nanoseconds.
 *
 * Usage: idle PID ROUNDS ADDRESS...
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define FRAME ((1ULL << 55) - 1)

static int open_at(const char *path, int flags)
{
	int fd = open(path, flags);

	if (fd < 0) {
		perror(path);
		exit(1);
	}
	return fd;
}

static uint64_t word(int fd, uint64_t index)
{
	uint64_t value = 0;

	if (pread(fd, &value, 8, index * 8) < 0) {
		perror("pread");
		exit(1);
	}
	return value;
}

static long long cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

int main(int argc, char **argv)
{
	int pagemap, flags, bitmap, pages = argc - 3, number;
	uint64_t *frames, *addresses, sum = 0;
	long rounds, round;
	long long begin;
	char path[64];

	if (argc < 4 || (rounds = atol(argv[2])) < 1) {
		fprintf(stderr, "usage: idle PID ROUNDS ADDRESS...\n");
		return 2;
	}
	snprintf(path, sizeof(path), "/proc/%s/pagemap", argv[1]);
	pagemap = open_at(path, O_RDONLY);
	flags = open_at("/proc/kpageflags", O_RDONLY);
	bitmap = open_at("/sys/kernel/mm/page_idle/bitmap", O_RDWR);
	frames = calloc(pages, sizeof(*frames));
	addresses = calloc(pages, sizeof(*addresses));
	for (number = 0; number < pages; number++)
		addresses[number] = strtoull(argv[number + 3], NULL, 10);
	begin = cpu_ns();
	for (round = 0; round < rounds; round++) {
		for (number = 0; number < pages; number++)
			frames[number] = word(pagemap, addresses[number] / 4096) & FRAME;
		for (number = 0; number < pages; number++)
			sum += word(flags, frames[number]);
		for (number = 0; number < pages; number++) {
			uint64_t mask = 1ULL << frames[number] % 64;

			if (pwrite(bitmap, &mask, 8, frames[number] / 64 * 8) != 8) {
				perror("pwrite");
				return 1;
			}
		}
		for (number = 0; number < pages; number++)
			sum += word(bitmap, frames[number] / 64);
	}
	printf("%lld\n", (cpu_ns() - begin) / rounds);
	return sum == 0;
}
