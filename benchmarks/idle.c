/*
 * The kernel calls of the backend `idle` for one check, and nothing else: pagemap and kpageflags
 * of the pages, marks in the bitmap, the words of the bitmap. Neighbouring words are read in one
 * call where the backend does so. The process is idle, so no page has to be checked again. Prints
 * the CPU time of a round in nanoseconds.
 *
 * Usage: idle BITMAP PID ROUNDS ADDRESS...   (addresses ascending)
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define FRAME ((1ULL << 55) - 1)

struct calls {
	int fd, number;
	struct { uint64_t first, words; } *runs;
	uint64_t *data;
};

static int open_at(const char *path, int flags)
{
	int fd = open(path, flags);

	if (fd < 0) {
		perror(path);
		exit(1);
	}
	return fd;
}

static int ascending(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return (a > b) - (a < b);
}

/* Plan calls for the words at ascending places, one for those at most `near` apart. */
static struct calls plan(int fd, const uint64_t *place, int places, uint64_t near)
{
	struct calls calls = { .fd = fd };
	uint64_t longest = 1;
	int number;

	calls.runs = calloc(places, sizeof(*calls.runs));
	for (number = 0; number < places; number++) {
		if (number == 0 || place[number] - place[number - 1] > near)
			calls.runs[calls.number++].first = place[number];
		calls.runs[calls.number - 1].words =
			place[number] - calls.runs[calls.number - 1].first + 1;
		if (calls.runs[calls.number - 1].words > longest)
			longest = calls.runs[calls.number - 1].words;
	}
	calls.data = calloc(longest, 8);
	return calls;
}

static void make(const struct calls *calls, ssize_t (*call)(int, void *, size_t, off_t))
{
	int number;

	for (number = 0; number < calls->number; number++) {
		size_t size = calls->runs[number].words * 8;

		if (call(calls->fd, calls->data, size, calls->runs[number].first * 8) < 0) {
			perror("call");
			exit(1);
		}
	}
}

static ssize_t put(int fd, void *data, size_t size, off_t at)
{
	return pwrite(fd, data, size, at);
}

static long long cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

int main(int argc, char **argv)
{
	int pagemap, bitmap, pages = argc - 4, number, run;
	struct calls entries, flags, *marks;
	uint64_t *frames, *places, word;
	long rounds, round;
	long long begin;
	char path[64];

	if (argc < 5 || (rounds = atol(argv[3])) < 1) {
		fprintf(stderr, "usage: idle BITMAP PID ROUNDS ADDRESS...\n");
		return 2;
	}
	snprintf(path, sizeof(path), "/proc/%s/pagemap", argv[2]);
	pagemap = open_at(path, O_RDONLY);
	bitmap = open_at(argv[1], O_RDWR);
	frames = calloc(pages, sizeof(*frames));
	places = calloc(pages, sizeof(*places));
	for (number = 0; number < pages; number++)
		places[number] = strtoull(argv[number + 4], NULL, 10) / 4096;
	entries = plan(pagemap, places, pages, 32);
	for (number = 0; number < pages; number++) {
		if (pread(pagemap, &word, 8, places[number] * 8) != 8) {
			perror(path);
			return 1;
		}
		frames[number] = word & FRAME;
	}
	qsort(frames, pages, sizeof(*frames), ascending);
	flags = plan(open_at("/proc/kpageflags", O_RDONLY), frames, pages, 4);
	for (number = 0; number < pages; number++)
		places[number] = frames[number] / 64;
	struct calls words = plan(bitmap, places, pages, 1);

	/* Reading overwrites the data to write, so each run of marks has separate data. */
	marks = calloc(words.number, sizeof(*marks));
	number = 0;
	for (run = 0; run < words.number; run++) {
		marks[run] = (struct calls){ .fd = bitmap, .number = 1, .runs = words.runs + run };
		marks[run].data = calloc(words.runs[run].words, 8);
		for (; number < pages &&
		       places[number] < words.runs[run].first + words.runs[run].words; number++)
			marks[run].data[places[number] - words.runs[run].first] |=
				1ULL << frames[number] % 64;
	}

	begin = cpu_ns();
	for (round = 0; round < rounds; round++) {
		make(&entries, pread);
		make(&flags, pread);
		for (run = 0; run < words.number; run++)
			make(&marks[run], put);
		make(&words, pread);
	}
	printf("%lld\n", (cpu_ns() - begin) / rounds);
	return 0;
}
