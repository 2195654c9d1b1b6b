/*
 * The check that damon_idle.checking.PythonCheck makes, with the same system calls and the same
 * results. What entries, flags and marks mean is said in damon_idle: pagemap.py, frames.py, bitmap.py.
 */
#include "check.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* A word of pagemap. */
#define FRAME ((1ULL << 55) - 1)
#define OF_FILE (1ULL << 61)
#define PRESENT (1ULL << 63)

/* A word of kpageflags. */
#define LRU (1ULL << 5)
#define HEAD (1ULL << 15)
#define TAIL (1ULL << 16)
#define NOPAGE (1ULL << 20)

/* The states of pages that are returned. */
#define ACCESSED 1
#define UNKNOWN 2
#define IN_MEMORY 4
#define COMPOUND 8
/* Only while they are looked at: no longer idle; and still with its frame. */
#define USED 16
#define SAME_FRAME 32

/* Words of a file at most this far apart are read in one call: what a call costs in words. */
#define NEAR_ENTRIES 32
#define NEAR_FLAGS 4
#define NEAR_MARKS 1
/* No call is of more words than this. */
#define MOST_WORDS 512

/* Orders of compound pages, as in frames.py. */
#define HUGE_ORDER 9
#define ORDERS 13

static ssize_t read_at(int file, void *data, size_t size, uint64_t at)
{
	ssize_t got;

	do
		got = pread(file, data, size, (off_t)at);
	while (got < 0 && errno == EINTR);
	return got;
}

/*
 * Read the words of a file at ascending places, and which of them are readable; the others are 0.
 * Return how many aren't.
 */
static size_t read_words(int file, struct words *words, uint64_t near)
{
	uint64_t data[MOST_WORDS];
	size_t begin, end, at, unreadable = 0;

	for (begin = 0; begin < words->number; begin = end) {
		uint64_t first = words->place[begin], last = first;
		ssize_t got;

		for (end = begin + 1; end < words->number; end++) {
			uint64_t place = words->place[end];

			/* A place that doesn't ascend is far away, too: these wrap around. */
			if (place - last > near || place - first >= MOST_WORDS)
				break;
			last = place;
		}
		got = read_at(file, data, (last - first + 1) * sizeof(*data), first * sizeof(*data));
		for (at = begin; at < end; at++) {
			uint64_t index = words->place[at] - first;

			words->readable[at] = got > 0 && index < (size_t)got / sizeof(*data);
			words->word[at] = words->readable[at] ? data[index] : 0;
			unreadable += !words->readable[at];
		}
	}
	return unreadable;
}

bool make_words(struct words *words, size_t most)
{
	*words = (struct words){
		.place = malloc(most * sizeof(*words->place) + 1),
		.word = malloc(most * sizeof(*words->word) + 1),
		.readable = malloc(most * sizeof(*words->readable) + 1),
	};
	return words->place && words->word && words->readable;
}

void free_words(struct words *words)
{
	free(words->place);
	free(words->word);
	free(words->readable);
}

static uint64_t flags_of(int file, uint64_t frame)
{
	uint64_t flags;
	bool exists = read_at(file, &flags, sizeof(flags), frame * sizeof(flags)) == sizeof(flags);

	return exists ? flags : NOPAGE;
}

/* Return the head of a tail, and set the flags of it; the reasons are in frames.py. */
static uint64_t head_of(int file, uint64_t tail, uint64_t *flags)
{
	uint64_t head = tail >> HUGE_ORDER << HUGE_ORDER, smaller = head + 1;
	int low = 1, high = ORDERS;

	while (smaller - head <= (tail - head) / 2)
		smaller = head + 2 * (smaller - head);
	*flags = flags_of(file, head);
	if (!(*flags & TAIL) && flags_of(file, smaller) & TAIL)
		return head;
	while (low < high) {
		int guess = (low + high) / 2;

		if (flags_of(file, tail >> guess << guess) & TAIL)
			low = guess + 1;
		else
			high = guess;
	}
	*flags = flags_of(file, tail >> high << high);
	return tail >> high << high;
}

/* Find the heads of ascending frames, and which pages are compound and tracked. */
static void find_heads(int file, struct frame *frame, size_t number, struct words *words)
{
	uint64_t highest = 0;
	size_t at;

	words->number = number;
	for (at = 0; at < number; at++)
		words->place[at] = frame[at].frame;
	read_words(file, words, NEAR_FLAGS);
	for (at = 0; at < number; at++, frame++) {
		uint64_t flags = words->readable[at] ? words->word[at] : NOPAGE;

		frame->head = frame->frame;
		frame->compound = flags & (HEAD | TAIL);
		if (flags & TAIL) {
			frame->head = head_of(file, frame->frame, &flags);
			if (!(flags & HEAD))
				flags = NOPAGE;
		}
		/* Heads ascend as frames do, unless they changed during the search. */
		frame->tracked = flags & LRU && frame->head >= highest;
		if (frame->head > highest)
			highest = frame->head;
	}
}

static int ascending(const void *left, const void *right)
{
	uint64_t a = ((const struct frame *)left)->frame, b = ((const struct frame *)right)->frame;

	return (a > b) - (a < b);
}

/* Mark the pages of frames that are tracked; keep those frames whose marks were written. */
static void write_marks(struct check *check)
{
	struct frame *frame = check->frame;
	size_t begin, end, at, kept = 0;

	for (at = 0; at < check->marked; at++) {
		if (frame[at].tracked)
			frame[kept++] = frame[at];
		else
			check->page[frame[at].page].state |= UNKNOWN;
	}
	check->marked = kept;
	kept = 0;
	for (begin = 0; begin < check->marked; begin = end) {
		uint64_t data[MOST_WORDS], first = frame[begin].head / 64, last = first;
		ssize_t put;

		for (end = begin; end < check->marked; end++) {
			uint64_t place = frame[end].head / 64;

			if (place - last > NEAR_MARKS || place - first >= MOST_WORDS)
				break;
			if (end == begin || place != last)
				data[place - first] = 0;
			data[place - first] |= 1ULL << frame[end].head % 64;
			last = place;
		}
		do
			put = pwrite(check->bitmap, data, (last - first + 1) * sizeof(*data),
				     (off_t)(first * sizeof(*data)));
		while (put < 0 && errno == EINTR);
		for (at = begin; at < end; at++) {
			if (put >= 0)
				frame[kept++] = frame[at];
			else
				check->page[frame[at].page].state |= UNKNOWN;
		}
	}
	check->marked = kept;
}

bool mark_pages(struct check *check, struct words *words)
{
	size_t number, at;

	for (number = 0; number < check->processes; number++) {
		struct process *process = &check->process[number];
		struct page *page = check->page + process->first;

		words->number = process->pages;
		for (at = 0; at < process->pages; at++)
			words->place[at] = page[at].place;
		process->gone = read_words(process->pagemap, words, NEAR_ENTRIES) > 0;
		for (at = 0; at < process->pages && !process->gone; at++) {
			page[at].entry = words->word[at];
			if (!(page[at].entry & PRESENT))
				continue;
			page[at].state = IN_MEMORY;
			process->in_memory++;
			check->frame[check->marked++] = (struct frame){
				.frame = page[at].entry & FRAME,
				.page = process->first + at,
			};
		}
	}
	qsort(check->frame, check->marked, sizeof(*check->frame), ascending);
	if (check->marked && check->frame[0].frame == 0)
		return false;
	find_heads(check->flags, check->frame, check->marked, words);
	write_marks(check);
	return true;
}

/* Read the entries of a process's pages again where they matter; return false if it is gone. */
static bool read_again(const struct check *check, const struct process *process, struct words *words,
		       uint8_t *state)
{
	const struct page *page = check->page + process->first;
	size_t at;

	/* Idle pages don't matter, as a mark moves with its page, nor do unknown ones. */
	words->number = 0;
	for (at = 0; at < process->pages; at++)
		if (state[at] & USED || !(state[at] & IN_MEMORY))
			words->place[words->number++] = page[at].place;
	if (process->gone || read_words(process->pagemap, words, NEAR_ENTRIES) > 0)
		return false;
	words->number = 0;
	for (at = 0; at < process->pages; at++) {
		uint64_t entry;

		if (!(state[at] & USED) && state[at] & IN_MEMORY)
			continue;
		entry = words->word[words->number++];
		if (!(entry & PRESENT))
			continue;
		if (!(state[at] & IN_MEMORY))
			/* A file's page may be there because a neighbour was touched. */
			state[at] |= entry & OF_FILE ? UNKNOWN : ACCESSED;
		else if ((entry & FRAME) == (page[at].entry & FRAME))
			state[at] |= SAME_FRAME;
	}
	return true;
}

void look_at_pages(const struct check *check, struct words *words, struct frame *used,
		   uint8_t *state, bool *gone)
{
	size_t at, number = 0;

	for (at = 0; at < check->pages; at++)
		state[at] = check->page[at].state;
	words->number = check->marked;
	for (at = 0; at < check->marked; at++)
		words->place[at] = check->frame[at].head / 64;
	read_words(check->bitmap, words, NEAR_MARKS);
	for (at = 0; at < check->marked; at++) {
		const struct frame *frame = &check->frame[at];

		if (!words->readable[at]) {
			state[frame->page] |= UNKNOWN;
		} else if (!(words->word[at] >> frame->head % 64 & 1)) {
			state[frame->page] |= USED;
			used[number++] = *frame;
		}
	}
	for (at = 0; at < check->processes; at++) {
		const struct process *process = &check->process[at];

		gone[at] = !read_again(check, process, words, state + process->first);
	}
	/* A page that is still where it was has been accessed; of others nobody knows. */
	find_heads(check->flags, used, number, words);
	for (at = 0; at < check->marked; at++) {
		const struct frame *frame = &check->frame[at];
		uint8_t *its = &state[frame->page];

		if (!(*its & USED))
			continue;
		if (*its & SAME_FRAME && used->tracked && used->head == frame->head)
			*its = IN_MEMORY | ACCESSED | (frame->compound ? COMPOUND : 0);
		else
			*its = IN_MEMORY | UNKNOWN;
		used++;
	}
}
