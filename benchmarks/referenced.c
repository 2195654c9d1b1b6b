/*
 * The kernel calls of the backend `referenced`, and nothing else: write "1" to clear_refs, read
 * the whole of smaps. Prints the CPU time of one round in nanoseconds.
 *
 * Usage: referenced PID ROUNDS
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static char buffer[1 << 20];

static int open_of(const char *pid, const char *name, int flags)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%s/%s", pid, name);
	fd = open(path, flags);
	if (fd < 0) {
		perror(path);
		exit(1);
	}
	return fd;
}

static long long cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

int main(int argc, char **argv)
{
	int clear_refs, smaps;
	long rounds, round;
	long long begin;

	if (argc != 3 || (rounds = atol(argv[2])) < 1) {
		fprintf(stderr, "usage: referenced PID ROUNDS\n");
		return 2;
	}
	clear_refs = open_of(argv[1], "clear_refs", O_WRONLY);
	smaps = open_of(argv[1], "smaps", O_RDONLY);
	begin = cpu_ns();
	for (round = 0; round < rounds; round++) {
		ssize_t got;

		if (write(clear_refs, "1", 1) != 1 || lseek(smaps, 0, SEEK_SET) != 0) {
			perror("clear_refs");
			return 1;
		}
		while ((got = read(smaps, buffer, sizeof(buffer))) > 0)
			;
		if (got < 0) {
			perror("smaps");
			return 1;
		}
	}
	printf("%lld\n", (cpu_ns() - begin) / rounds);
	return 0;
}
