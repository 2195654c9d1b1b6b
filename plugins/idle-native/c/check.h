/*
 * One check of pages of processes with idle page tracking: `mark_pages`, and later `look_at_pages`.
 * Nothing here knows Python: it runs without the interpreter's lock.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A page that is checked: the index of its entry in pagemap, and what was found when it was marked. */
struct page {
	uint64_t place, entry;
	uint8_t state;
};

/* A page in memory, by its frame: `head` is the first frame of its page. */
struct frame {
	uint64_t frame, head;
	size_t page;
	bool tracked, compound;
};

/* A process: its pages are those from `first` on. */
struct process {
	int pagemap;
	bool gone;
	size_t first, pages, in_memory;
};

/* `frame` has room for all pages; from `mark_pages` on, those that are marked, ascending. */
struct check {
	int bitmap, flags;
	size_t processes, pages, marked;
	struct process *process;
	struct page *page;
	struct frame *frame;
};

/* What both functions work with. */
struct words {
	size_t number;
	uint64_t *place, *word;
	bool *readable;
};

/* Allocate for a number of pages; return false if there isn't enough memory, and free it either way. */
bool make_words(struct words *words, size_t pages);
void free_words(struct words *words);

/* Find the frames of all pages and mark these as idle; return false if frames are hidden. */
bool mark_pages(struct check *check, struct words *words);

/*
 * Set the state of each page, as damon_idle.checking has it, and whether each process is gone. `used`
 * has room for the marked frames.
 */
void look_at_pages(const struct check *check, struct words *words, struct frame *used,
		   uint8_t *state, bool *gone);

#endif
