/*
 * The system calls of a look of the backend `pagetable`, and nothing else: the program that reads
 * page tables, which the benchmark has loaded, is run for all given tables, and its results are
 * copied. Prints the CPU time of one round in nanoseconds.
 *
 * Usage: pagetable PID ROUNDS PROGRAM MAP BATCH ADDRESSES_AT BITS_AT BASE TOP <tables
 *
 * PROGRAM and MAP are open files, ADDRESSES_AT and BITS_AT offsets in the map; the standard input
 * has the tables' addresses, of 64 bits each.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <linux/bpf.h>

#define MOST (1 << 20)

static uint64_t tables[MOST];

static long long cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

int main(int argc, char **argv)
{
	char path[64], *memory, *bits;
	size_t count, first, batch, addresses_at, bits_at;
	long rounds, round;
	uint64_t context[4];
	union bpf_attr attributes;
	long long begin;

	if (argc != 10) {
		fprintf(stderr, "see the source\n");
		return 2;
	}
	rounds = atol(argv[2]);
	batch = atol(argv[5]);
	addresses_at = atol(argv[6]);
	bits_at = atol(argv[7]);
	snprintf(path, sizeof(path), "/proc/%s/pagemap", argv[1]);
	context[0] = open(path, O_RDONLY);
	context[2] = strtoull(argv[8], NULL, 0);
	context[3] = strtoull(argv[9], NULL, 0);
	count = fread(tables, sizeof(tables[0]), MOST, stdin);
	bits = malloc(count * 512);
	memory = mmap(NULL, bits_at + batch * 512, PROT_READ | PROT_WRITE, MAP_SHARED, atoi(argv[4]), 0);
	if ((int)context[0] < 0 || memory == MAP_FAILED || !bits) {
		perror(path);
		return 1;
	}
	memset(bits, 0, count * 512);
	begin = cpu_ns();
	for (round = 0; round < rounds; round++) {
		for (first = 0; first < count; first += batch) {
			size_t some = count - first < batch ? count - first : batch;

			memcpy(memory + addresses_at, tables + first, some * sizeof(tables[0]));
			context[1] = some;
			memset(&attributes, 0, sizeof(attributes));
			attributes.test.prog_fd = atoi(argv[3]);
			attributes.test.ctx_in = (uintptr_t)context;
			attributes.test.ctx_size_in = sizeof(context);
			if (syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attributes, sizeof(attributes.test)) < 0) {
				perror("bpf");
				return 1;
			}
			memcpy(bits + first * 512, memory + bits_at, some * 512);
		}
	}
	printf("%lld\n", (cpu_ns() - begin) / rounds);
	return 0;
}
