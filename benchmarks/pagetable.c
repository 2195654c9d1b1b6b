/*
 * The system calls of a look of the backend `pagetable`, and nothing else: the programs that read
 * page tables, which the benchmark has loaded, are run for all given tables, those of the highest
 * level first, and their results are copied. Prints the CPU time of one round in nanoseconds.
 *
 * Usage: pagetable PID ROUNDS MAP WINDOW ADDRESSES_AT BITS_AT BASE TOP <tables
 *
 * MAP is an open file, with room for WINDOW tables, ADDRESSES_AT and BITS_AT are offsets in it. The
 * standard input has numbers of 64 bits: for each level the open file of its program, how many
 * tables are read in a run, how many there are, and the addresses of these.
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

static uint64_t input[MOST];

static long long cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

int main(int argc, char **argv)
{
	char path[64], *memory, *bits;
	size_t size, at, window, addresses_at, bits_at;
	long rounds, round;
	uint64_t context[5];
	union bpf_attr attributes;
	long long begin;

	if (argc != 9) {
		fprintf(stderr, "see the source\n");
		return 2;
	}
	rounds = atol(argv[2]);
	window = atol(argv[4]);
	addresses_at = atol(argv[5]);
	bits_at = atol(argv[6]);
	snprintf(path, sizeof(path), "/proc/%s/pagemap", argv[1]);
	context[0] = open(path, O_RDONLY);
	context[3] = strtoull(argv[7], NULL, 0);
	context[4] = strtoull(argv[8], NULL, 0);
	size = fread(input, sizeof(input[0]), MOST, stdin);
	bits = malloc(size * 512);
	memory = mmap(NULL, bits_at + window * 512, PROT_READ | PROT_WRITE, MAP_SHARED, atoi(argv[3]), 0);
	if ((int)context[0] < 0 || memory == MAP_FAILED || !bits) {
		perror(path);
		return 1;
	}
	memset(bits, 0, size * 512);
	begin = cpu_ns();
	for (round = 0; round < rounds; round++) {
		for (at = 0; at < size; at += 3 + input[at + 2]) {
			uint64_t program = input[at], batch = input[at + 1], count = input[at + 2];
			uint64_t first, begins;

			for (first = 0; first < count; first += window) {
				uint64_t some = count - first < window ? count - first : window;

				memcpy(memory + addresses_at, input + at + 3 + first, some * sizeof(input[0]));
				for (begins = 0; begins < some; begins += batch) {
					context[1] = begins;
					context[2] = some - begins < batch ? some - begins : batch;
					memset(&attributes, 0, sizeof(attributes));
					attributes.test.prog_fd = program;
					attributes.test.ctx_in = (uintptr_t)context;
					attributes.test.ctx_size_in = sizeof(context);
					if (syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attributes, sizeof(attributes.test)) < 0) {
						perror("bpf");
						return 1;
					}
				}
				memcpy(bits + (at + first) * 512, memory + bits_at, some * 512);
			}
		}
	}
	printf("%lld\n", (cpu_ns() - begin) / rounds);
	return 0;
}
