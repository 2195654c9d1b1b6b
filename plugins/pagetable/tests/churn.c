/* A process that changes its page tables as fast as it can, and keeps some of its memory as it is.
 *
 * Four areas, whose addresses it prints: `stable`, of which every fifth page is there; `mapped`,
 * which a thread maps, touches in every seventh page from the third on, and unmaps; `collapsed`, the
 * same with huge pages made of the small ones before unmapping; `split`, huge pages of which half is
 * given back. A thread frees tables' worth of memory full of words that look like entries of
 * accessed pages, so that they come into freed tables. Another forks, and has children execute.
 *
 * It begins when it is sent a line, and goes on until its input ends.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL
#define BLOCK (512 * PAGE)
#define BLOCKS 8
#define LOOKS_LIKE_ENTRY 0x8000000012345067UL
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

static volatile int ended;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static char *reserve(void)
{
	char *area = mmap(NULL, (BLOCKS + 1) * BLOCK, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		fail("mmap");
	return (char *)(((uintptr_t)area + BLOCK - 1) / BLOCK * BLOCK);
}

static void map(char *area, int advice)
{
	if (mmap(area, BLOCKS * BLOCK, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		fail("mmap");
	madvise(area, BLOCKS * BLOCK, advice);
}

static void unmap(char *area)
{
	if (mmap(area, BLOCKS * BLOCK, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED)
		fail("mmap");
}

static void touch(char *area, unsigned long from, unsigned long step)
{
	for (unsigned long page = from; page < BLOCKS * 512; page += step)
		area[page * PAGE] = 1;
}

static void *keep_mapping(void *area)
{
	while (!ended) {
		map(area, MADV_NOHUGEPAGE);
		touch(area, 3, 7);
		unmap(area);
	}
	return NULL;
}

static void *keep_collapsing(void *area)
{
	while (!ended) {
		map(area, MADV_NOHUGEPAGE);
		touch(area, 3, 7);
		madvise(area, BLOCKS * BLOCK, MADV_HUGEPAGE);
		madvise(area, BLOCKS * BLOCK, MADV_COLLAPSE);
		unmap(area);
	}
	return NULL;
}

static void *keep_splitting(void *area)
{
	while (!ended) {
		map(area, MADV_HUGEPAGE);
		touch(area, 0, 512);
		for (int block = 0; block < BLOCKS; block++)
			madvise((char *)area + block * BLOCK, BLOCK / 2, MADV_DONTNEED);
		unmap(area);
	}
	return NULL;
}

static void *keep_filling(void *unused)
{
	(void)unused;
	while (!ended) {
		uint64_t *words = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (words == MAP_FAILED)
			fail("mmap");
		for (unsigned long word = 0; word < 64 * PAGE / 8; word++)
			words[word] = LOOKS_LIKE_ENTRY;
		munmap(words, 64 * PAGE);
	}
	return NULL;
}

static void *keep_forking(void *unused)
{
	(void)unused;
	for (unsigned long number = 0; !ended; number++) {
		pid_t child = fork();
		if (child == 0) {
			if (number % 4 == 0)
				execl("/bin/true", "true", NULL);
			_exit(0);
		}
		if (child > 0)
			waitpid(child, NULL, 0);
	}
	return NULL;
}

int main(void)
{
	char *stable = reserve(), *mapped = reserve(), *collapsed = reserve(), *split = reserve();
	pthread_t threads[5];
	char line[16];

	map(stable, MADV_NOHUGEPAGE);
	touch(stable, 0, 5);
	printf("%lu %lu %lu %lu\n", (unsigned long)stable, (unsigned long)mapped,
	       (unsigned long)collapsed, (unsigned long)split);
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return 1;
	touch(stable, 0, 10);
	pthread_create(&threads[0], NULL, keep_mapping, mapped);
	pthread_create(&threads[1], NULL, keep_collapsing, collapsed);
	pthread_create(&threads[2], NULL, keep_splitting, split);
	pthread_create(&threads[3], NULL, keep_filling, NULL);
	pthread_create(&threads[4], NULL, keep_forking, NULL);
	puts("begun");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin))
		;
	ended = 1;
	for (int number = 0; number < 5; number++)
		pthread_join(threads[number], NULL);
	return 0;
}
