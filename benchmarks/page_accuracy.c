/*
 * A process with memory of a given size that increments a byte in each of some pages, round after
 * round, and prints where its memory is.
 *
 * Usage: page_accuracy MIB PAUSE_US <pages
 *
 * The standard input has the numbers of the pages, of 32 bits each. Every round ends with a pause.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096UL
#define BLOCK (512 * PAGE)
#define MOST (1 << 24)

int main(int argc, char **argv)
{
	static uint32_t pages[MOST];
	size_t size, count, number;
	char *area;

	if (argc != 3)
		return 2;
	size = strtoul(argv[1], NULL, 10) << 20;
	count = fread(pages, sizeof(pages[0]), MOST, stdin);
	area = mmap(NULL, size + BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		return 1;
	area = (char *)(((uintptr_t)area + BLOCK - 1) / BLOCK * BLOCK);
	madvise(area, size, MADV_NOHUGEPAGE);
	for (number = 0; number < size / PAGE; number++)
		area[number * PAGE] = 1;
	printf("%lu\n", (unsigned long)area);
	fflush(stdout);
	for (;;) {
		for (number = 0; number < count; number++)
			area[pages[number] * PAGE]++;
		if (atol(argv[2]))
			usleep(atol(argv[2]));
	}
}
