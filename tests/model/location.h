/* Where atomics live, and what things are called. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct location {
    const void *address;
    unsigned size;
    unsigned run;       /* the last one that used it */
    unsigned ended_run; /* the last one in which a plain write ended its life */
    uint64_t initial;
    uint16_t memory_rank; /* of what its memory holds */
    uint16_t next;        /* what the address is after that; 0: nothing yet */
    bool is_hint;
};

void locations_forget(void);
void locations_begin_run(void);
/* The memory of all locations gets what was written last. */
void locations_settle(void);
/* The location of an atomic access; NULL when it is not explored. */
struct location *location_of(const void *address, unsigned size);
uint16_t location_number(const struct location *location);
uint64_t location_initial(unsigned location);
/* A write event was done: the memory follows. */
void location_written(unsigned number);
/* A plain write of an atomic begins its life anew: race.c sees to it that nobody is around. */
void location_overwritten(const void *address, size_t size);
void location_describe(unsigned location, char *text, size_t size);
void memory_describe(const void *memory, char *text, size_t size);
